//! What happens around every call: a span in the caller's trace, metrics, authentication, a deadline, and an answer even
//! when the handler panics.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tokio::time::Instant;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Code, Status};
use tracing::Instrument;
use tradepost_domain::id::AgentId;
use tradepost_runtime::telemetry;
use tradepost_store::{Principal, Role};

use super::methods::{self, Access};
use super::status;
use crate::identity::{agent_of, key_hash_of};
use crate::metric;
use crate::service::auth::Tokens;
use crate::service::standing::unknown;
use crate::service::{Core, Error, Reason};

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
    tokens: Tokens,
    side: Side,
}

impl Gate {
    /// A gate.
    pub fn new(core: Core, side: Side) -> Self {
        Self { core, tokens: Tokens::default(), side }
    }

    /// Puts the gate around every route, the fallback for unknown methods included.
    pub fn around(self, router: Router) -> Router {
        router.layer(from_fn_with_state(self, guard))
    }

    /// Lets the caller in, and says who it is.
    async fn admit(&self, access: Access, shown: Shown) -> Result<Caller, Error> {
        match (access, self.side) {
            (Access::Anyone, Side::Api) => Ok(Caller::Anyone),
            (Access::Role(needed), Side::Api) => {
                let token = shown.token.ok_or_else(|| {
                    Error::new(
                        Reason::TokenMissing,
                        "no token was given; send \"authorization: Bearer <token>\" (see `tradepost login`)",
                    )
                })?;
                let principal = self.core.authenticate(&self.tokens, &token).await?;
                if principal.role < needed {
                    return Err(insufficient(&principal, needed));
                }
                Ok(Caller::User(principal))
            }
            (Access::Agent, Side::Agents) => self.agent(shown.agent).await.map(Caller::Agent),
            (Access::Agent, Side::Api) | (Access::Anyone | Access::Role(_), Side::Agents) => Err(Error::new(
                Reason::RoleInsufficient,
                "this method is served on the controller's other listener",
            )),
        }
    }

    /// The agent of the certificate, as long as it is neither unknown, revoked nor locked, and the key is its own.
    async fn agent(&self, shown: Option<(AgentId, String)>) -> Result<AgentId, Error> {
        let (id, key_hash) = shown.ok_or_else(unknown)?;
        let agent = self.core.admitted_agent(id).await?;
        if agent.key_hash == key_hash { Ok(id) } else { Err(unknown()) }
    }
}

/// What a call shows of its caller.
struct Shown {
    token: Option<String>,
    /// The id and the key's hash.
    agent: Option<(AgentId, String)>,
}

/// Who calls.
enum Caller {
    Anyone,
    User(Principal),
    Agent(AgentId),
}

impl Shown {
    fn of(request: &Request) -> Self {
        let certificates =
            request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        Self {
            token: bearer(request),
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
            Self::User(principal) => drop(request.extensions_mut().insert(principal)),
            Self::Agent(agent) => drop(request.extensions_mut().insert(agent)),
        }
    }
}

fn insufficient(principal: &Principal, needed: Role) -> Error {
    let (has, workspace) = (principal.role.name(), &principal.workspace_name);
    let needed = needed.name();
    let message = format!("this needs the role {needed}; you have {has} in the workspace {workspace:?}");
    Error::new(Reason::RoleInsufficient, message)
}

fn bearer(request: &Request) -> Option<String> {
    let header = request.headers().get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let Some((method, access)) = methods::row(&path) else {
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
    let span = tracing::info_span!("rpc", method, side = ?gate.side, code = tracing::field::Empty);
    telemetry::extract(&span, request.headers());
    let began = Instant::now();
    let response = async {
        let shown = Shown::of(&request);
        match gate.admit(access, shown).await {
            Ok(caller) => {
                caller.introduce(&mut request);
                call(&path, request, next).await
            }
            Err(error) => status::from(error).into_http(),
        }
    }
    .instrument(span.clone())
    .await;
    let code = code_of(&response);
    span.record("code", code);
    metric::rpc(method, code, began.elapsed());
    response
}

/// Runs the handler; a panic becomes an internal error, and a unary call that takes too long is ended.
async fn call(path: &str, request: Request, next: Next) -> Response {
    let handler = AssertUnwindSafe(next.run(request)).catch_unwind();
    let ended = if methods::is_stream(path) {
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
