//! What happens around every call: a span in the caller's trace, metrics, authentication, a deadline, an answer even
//! when the handler panics, and, where it changes something, its place in the audit log.
//!
//! Each call has an id: the client's, in `tradepost-call`, if that is a UUID, else a fresh one. It is in the answer's
//! metadata, in the log and in the audit log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use ipnet::IpNet;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::Instrument;
use tradepost_domain::agent::Agent;
use tradepost_domain::audit::{Actor, Chain, Proof};
use tradepost_domain::id::{AgentId, AuditEntryId, CallId};
use tradepost_runtime::telemetry;
use tradepost_store::audit::{self, Author, Scope};
use tradepost_store::{Bearer, Credential, Principal, Role};

use super::connection::Origin;
use super::methods::{self, Access, Rule};
use super::{peer, status, watch};
use crate::identity::{agent_of, key_hash_of};
use crate::metric;
use crate::service::people::bearer::Need;
use crate::service::people::{Peer, throttle};
use crate::service::standing::unknown;
use crate::service::{AuditLog, Core, Error, People, Reason};

/// Names the workspace that a call works in, by id or name, where it is not the session's own.
const WORKSPACE: &str = "tradepost-workspace";
/// Names the call.
const CALL: &str = "tradepost-call";
/// A unary call ends within this time.
const DEADLINE: Duration = Duration::from_secs(30);

/// Which listener a gate stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// People and tools, with tokens.
    Api,
    /// Agents, with certificates.
    Agents,
}

/// The gate in front of one listener's services.
#[derive(Debug, Clone)]
pub struct Gate {
    core: Core,
    people: People,
    log: AuditLog,
    trusted: Arc<[IpNet]>,
    side: Side,
}

impl Gate {
    /// A gate; what `trusted` proxies say of their clients is believed.
    pub fn new(core: Core, people: People, log: AuditLog, trusted: &[IpNet], side: Side) -> Self {
        Self { core, people, log, trusted: trusted.into(), side }
    }

    /// Puts the gate around every route, the fallback for unknown methods included.
    pub fn around(self, router: Router) -> Router {
        router.layer(from_fn_with_state(self, guard))
    }

    /// Lets the caller in, and says who it is.
    async fn admit(&self, rule: &Rule, shown: &Shown) -> Result<Caller, Refused> {
        match (rule.access, self.side) {
            (Access::Anyone, Side::Api) => Ok(Caller::Anyone),
            (Access::User | Access::Role(_), Side::Api) => self.user(rule, shown).await.map(Caller::User),
            (Access::Agent, Side::Agents) => {
                let agent = self.agent(shown.agent.clone()).await?;
                Ok(Caller::Agent(Box::new(agent)))
            }
            (Access::Agent, Side::Api) | (Access::Anyone | Access::User | Access::Role(_), Side::Agents) => {
                let message = "this method is served on the controller's other listener";
                Err(Error::new(Reason::RoleInsufficient, message).into())
            }
        }
    }

    async fn user(&self, rule: &Rule, shown: &Shown) -> Result<Box<Bearer>, Refused> {
        let token = shown.token.as_deref().ok_or_else(|| {
            Error::new(
                Reason::TokenMissing,
                "no token was given; send \"authorization: Bearer <token>\" (see `tradepost login`)",
            )
        })?;
        let chosen = shown.workspace.as_deref();
        let mut bearer = self.people.authenticate(token, chosen).await?;
        self.people.count_call(token).await?;
        let need = need(rule, true);
        let mut admitted = self.people.authorise(&bearer, &need);
        if admitted.as_ref().is_err_and(|error| error.reason == Reason::StepUpRequired) {
            // The proof may have been given at another controller since.
            bearer = self.people.look_up(token, chosen).await?;
            admitted = self.people.authorise(&bearer, &need);
        }
        let bearer = Box::new(bearer);
        match admitted {
            Ok(()) => Ok(bearer),
            Err(error) => Err(Refused { error, caller: Caller::User(bearer) }),
        }
    }

    /// The agent of the certificate, as long as it is neither unknown, revoked nor locked, and the key is its own.
    async fn agent(&self, shown: Option<(AgentId, String)>) -> Result<Agent, Error> {
        let (id, key_hash) = shown.ok_or_else(unknown)?;
        let agent = self.core.admitted_agent(id).await?;
        if agent.key_hash == key_hash { Ok(agent) } else { Err(unknown()) }
    }

    /// Who does what, for the audit log. What a role in a workspace allows, and what agents do, belongs to that workspace's
    /// chain; the rest to the system's.
    fn author(&self, method: &str, rule: &Rule, caller: &Caller, shown: &Shown, call: CallId) -> Author {
        let (mut chain, mut proof) = (Chain::SYSTEM, None);
        let actor = match caller {
            Caller::Anyone => Actor::Anyone,
            Caller::Agent(agent) => {
                chain = Chain(Some(agent.workspace));
                Actor::Agent(agent.id)
            }
            Caller::User(bearer) => {
                if matches!(rule.access, Access::Role(least) if least != Role::Operator) {
                    chain = Chain(bearer.membership.as_ref().map(|own| own.workspace));
                }
                proof = Some(match bearer.credential {
                    Credential::Session { id, .. } => Proof::Session(id),
                    Credential::Token { id, .. } => Proof::Token(id),
                });
                Actor::User(bearer.user)
            }
        };
        Author {
            chain,
            actor,
            proof,
            peer: shown.peer.address.to_string(),
            method: method.trim_start_matches('/').to_owned(),
            call,
            controller: self.core.controller,
            at: self.core.now(),
            first_entry: AuditEntryId(self.core.id()),
        }
    }

    /// Tells a refusal for lack of rights, or of somebody who could not prove who they are. The call is answered anyway.
    async fn tell_refused(&self, author: Author, reason: &str, peer: Peer) {
        let caller = match author.actor.id() {
            Some(id) => id.to_string(),
            None => throttle::network(peer.address),
        };
        if let Err(error) = self.log.refused(author, &caller, reason).await {
            tracing::warn!(%error, reason, "a refusal could not be told in the audit log");
        }
    }
}

/// What a rule asks of a user.
pub(super) fn need(rule: &Rule, with_proof: bool) -> Need<'_> {
    let least = match rule.access {
        Access::Role(least) => Some(least),
        Access::Anyone | Access::User | Access::Agent => None,
    };
    Need { role: least, step_up: with_proof && rule.step_up, scope: rule.scope.as_deref() }
}

/// What a call shows of its caller.
struct Shown {
    token: Option<String>,
    workspace: Option<String>,
    /// The id and the key's hash.
    agent: Option<(AgentId, String)>,
    peer: Peer,
}

/// Who calls.
enum Caller {
    Anyone,
    User(Box<Bearer>),
    Agent(Box<Agent>),
}

/// Who was not let in, as far as that is known.
struct Refused {
    error: Error,
    caller: Caller,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, caller: Caller::Anyone }
    }
}

impl Shown {
    fn of(request: &Request, trusted: &[IpNet]) -> Self {
        let certificates =
            request.extensions().get::<Origin>().and_then(|origin| origin.certificates.as_ref());
        Self {
            token: bearer(request),
            workspace: request
                .headers()
                .get(WORKSPACE)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            peer: peer::of(request, trusted),
            agent: certificates
                .and_then(|chain| chain.first().and_then(|leaf| Some((agent_of(leaf)?, key_hash_of(leaf)?)))),
        }
    }
}

impl Caller {
    /// Leaves who it is where handlers look for it.
    fn introduce(self, request: &mut Request) {
        match self {
            Self::Anyone => {}
            Self::User(bearer) => {
                if let Some(membership) = &bearer.membership {
                    let principal = Principal {
                        user: bearer.user,
                        email: bearer.email.clone(),
                        workspace: membership.workspace,
                        workspace_name: membership.name.clone(),
                        role: membership.role,
                    };
                    request.extensions_mut().insert(principal);
                }
                request.extensions_mut().insert(*bearer);
            }
            Self::Agent(agent) => drop(request.extensions_mut().insert(agent.id)),
        }
    }
}

fn bearer(request: &Request) -> Option<String> {
    let header = request.headers().get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let Some((method, rule)) = methods::rule(&path) else {
        let is_grpc = request
            .headers()
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if !is_grpc {
            return (http::StatusCode::NOT_FOUND, "there is nothing here\n").into_response();
        }
        return Status::unimplemented("there is no such method; is the client newer than the controller?")
            .into_http();
    };
    let call = call_id(&request).unwrap_or_else(|| CallId(gate.core.id()));
    let span =
        tracing::info_span!("rpc", method, side = ?gate.side, call = %call, code = tracing::field::Empty);
    telemetry::extract(&span, request.headers());
    let began = Instant::now();
    let mut response = async {
        let shown = Shown::of(&request, &gate.trusted);
        match gate.admit(rule, &shown).await {
            Ok(caller) => {
                let author = rule.audited.then(|| gate.author(method, rule, &caller, &shown, call));
                caller.introduce(&mut request);
                request.extensions_mut().insert(shown.peer);
                let response = perform(&gate, rule, author, shown.peer, request, next).await;
                match shown.token {
                    Some(token) => watch::stream(response, gate.people.clone(), rule, token, shown.workspace),
                    None => response,
                }
            }
            Err(Refused { error, caller }) => {
                if !matches!(caller, Caller::Anyone) && error.reason != Reason::StepUpRequired {
                    let author = gate.author(method, rule, &caller, &shown, call);
                    gate.tell_refused(author, error.reason.name(), shown.peer).await;
                }
                status::from(error).into_http()
            }
        }
    }
    .instrument(span.clone())
    .await;
    if let Ok(value) = call.to_string().parse() {
        response.headers_mut().insert(CALL, value);
    }
    let code = code_of(&response);
    span.record("code", code);
    metric::rpc(method, code, began.elapsed());
    response
}

/// The id that the client gave the call.
fn call_id(request: &Request) -> Option<CallId> {
    request.headers().get(CALL)?.to_str().ok()?.parse().ok()
}

/// Runs the handler so that its effects take an entry into the audit log. A refusal without an effect is told, too.
async fn perform(
    gate: &Gate,
    rule: &Rule,
    author: Option<Author>,
    peer: Peer,
    request: Request,
    next: Next,
) -> Response {
    let Some(author) = author else { return call(rule, request, next).await };
    let scope = Scope::new(author.clone());
    let response = audit::scope(scope.clone(), call(rule, request, next)).await;
    let refused = Status::from_header_map(response.headers())
        .filter(|status| matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated));
    if let Some(status) = refused
        && !scope.has_written()
    {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        gate.tell_refused(author, &reason, peer).await;
    }
    response
}

/// Runs the handler; a panic becomes an internal error, and a unary call that takes too long is ended.
async fn call(rule: &Rule, request: Request, next: Next) -> Response {
    let handler = AssertUnwindSafe(next.run(request)).catch_unwind();
    let ended = if rule.streams {
        handler.await
    } else {
        let Ok(ended) = tokio::time::timeout(DEADLINE, handler).await else {
            let error = Error::new(Reason::DeadlineExceeded, "the call took longer than 30 seconds");
            return status::from(error).into_http::<Body>();
        };
        ended
    };
    ended.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        status::from(Error::internal(format!("a handler panicked: {words}"))).into_http::<Body>()
    })
}

/// The call's code where it is known before the body: errors of unary calls, and of streams that did not begin.
fn code_of(response: &Response) -> &'static str {
    name_of(Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()))
}

/// The code's name, as metrics and spans have it.
fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
