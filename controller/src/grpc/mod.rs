//! The services as clients see them: authenticate, convert, call the use case, convert. No logic.
//!
//! - [`methods`]: who may call what, default deny.
//! - [`layers`]: what happens around every call: span, metrics, panics, deadline, authentication.
//! - [`status`]: the one conversion of errors.
//!
//! To add a method: its handler in the file of its service, and in the proto its `access` option, which [`methods`] reads.

mod account;
mod agent;
mod agent_identity;
mod audit;
mod auth;
mod chunks;
pub mod connection;
mod credential;
mod enrolment;
mod event;
mod evidence;
mod job;
pub mod layers;
mod listing;
pub mod methods;
mod peer;
mod permit;
mod photo;
mod posting;
mod second_factor;
mod session;
pub mod status;
mod token;
mod user;
mod watch;
mod workspace;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tonic::service::Routes;
use tonic::{Request, Status};
use tonic_web::GrpcWebLayer;
use tradepost_domain::field::Violations;
use tradepost_domain::id::AgentId;
use tradepost_proto::convert::time;
use tradepost_proto::v1;
use tradepost_runtime::tasks::Tasks;
use tradepost_store::{Bearer, Principal};

use crate::identity::Identity;
use crate::service::people::Peer;
use crate::service::{AuditLog, Core, Error, People};
use crate::session::Sessions;

/// Hard limit of any message, both ways.
const MESSAGE_MAX: usize = 4 * 1024 * 1024;

/// What the handlers need.
#[derive(Debug, Clone)]
pub struct Api {
    /// Use cases.
    pub core: Core,
    /// Use cases of users.
    pub people: People,
    /// Use cases of the audit log.
    pub log: AuditLog,
    /// Attached agents.
    pub sessions: Sessions,
    /// The certificate authority.
    pub identity: Arc<Identity>,
    /// Tasks of streams.
    pub tasks: Tasks,
    /// Addresses to tell clients.
    pub addresses: Addresses,
}

/// Where others reach this controller, as host:port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The api listener.
    pub api: String,
    /// The agents listener.
    pub agents: String,
}

/// Builds a server of the generated kind with the limits of this controller.
macro_rules! limited {
    ($module:ident::$server:ident, $api:expr) => {
        v1::$module::$server::new($api.clone())
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX)
    };
}

/// The services for people and their tools, gRPC and gRPC-web.
pub fn api_router(
    api: &Api,
    gate: layers::Gate,
) -> Result<(Router, tonic_health::server::HealthReporter), Status> {
    use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH;
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tradepost_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(HEALTH)
        .build_v1()
        .map_err(|error| Status::internal(error.to_string()))?;
    let routes = Routes::new(health)
        .add_service(reflection)
        .add_service(limited!(auth_service_server::AuthServiceServer, api))
        .add_service(limited!(second_factor_service_server::SecondFactorServiceServer, api))
        .add_service(limited!(session_service_server::SessionServiceServer, api))
        .add_service(limited!(token_service_server::TokenServiceServer, api))
        .add_service(limited!(workspace_service_server::WorkspaceServiceServer, api))
        .add_service(limited!(user_service_server::UserServiceServer, api))
        .add_service(limited!(account_service_server::AccountServiceServer, api))
        .add_service(limited!(listing_service_server::ListingServiceServer, api))
        .add_service(limited!(photo_service_server::PhotoServiceServer, api))
        .add_service(limited!(posting_service_server::PostingServiceServer, api))
        .add_service(limited!(job_service_server::JobServiceServer, api))
        .add_service(limited!(agent_service_server::AgentServiceServer, api))
        .add_service(limited!(enrolment_service_server::EnrolmentServiceServer, api))
        .add_service(limited!(event_service_server::EventServiceServer, api))
        .add_service(limited!(audit_service_server::AuditServiceServer, api));
    let services = gate.around(routes.into_axum_router()).layer(GrpcWebLayer::new());
    Ok((services, reporter))
}

/// The services for agents, over mutual TLS only.
pub fn agents_router(api: &Api, gate: layers::Gate) -> Router {
    let routes = Routes::new(limited!(agent_session_service_server::AgentSessionServiceServer, api))
        .add_service(limited!(publish_permit_service_server::PublishPermitServiceServer, api))
        .add_service(limited!(evidence_service_server::EvidenceServiceServer, api))
        .add_service(limited!(agent_identity_service_server::AgentIdentityServiceServer, api))
        .add_service(limited!(agent_credential_service_server::AgentCredentialServiceServer, api));
    gate.around(routes.into_axum_router())
}

/// Who asks, in their workspace. The layers have put it there for every method that asks for a role.
fn caller<T>(request: &Request<T>) -> Result<Principal, Status> {
    let found = request.extensions().get::<Principal>().cloned();
    found.ok_or_else(|| status::from(Error::internal("a handler ran without a workspace")))
}

/// Who asks, with what they hold. The layers have put it there for every method that asks for a token.
fn bearer<T>(request: &Request<T>) -> Result<Bearer, Status> {
    let found = request.extensions().get::<Bearer>().cloned();
    found.ok_or_else(|| status::from(Error::internal("a handler ran without authentication")))
}

/// Where the call comes from.
fn peer_of<T>(request: &Request<T>) -> Result<Peer, Status> {
    let found = request.extensions().get::<Peer>().copied();
    found.ok_or_else(|| status::from(Error::internal("a handler ran without a peer")))
}

/// A time to live; none for the default.
fn ttl_of(ttl: Option<prost_types::Duration>) -> Result<Option<Duration>, Status> {
    match ttl.map(time::duration_from_wire) {
        Some(None) => Err(status::from(Error::field("ttl", "is no duration of 0 seconds or more"))),
        wanted => Ok(wanted.flatten()),
    }
}

/// Which agent asks, by its certificate. The layers have put it there.
fn calling_agent<T>(request: &Request<T>) -> Result<AgentId, Status> {
    let found = request.extensions().get::<AgentId>().copied();
    found.ok_or_else(|| status::from(Error::internal("a handler ran without a certificate")))
}

/// The converted request, or all of its violations.
fn checked<T>(violations: Violations, value: Option<T>) -> Result<T, Status> {
    violations.into_result(|| value).map_err(|violations| status::from(violations.into()))
}
