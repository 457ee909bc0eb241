//! Sessions and API tokens: what a bearer of a secret may do.

use async_trait::async_trait;
use tradepost_domain::id::{SessionId, TokenId, UserId, WorkspaceId};
use tradepost_domain::session::Chain;
use tradepost_domain::time::Timestamp;

use crate::{Error, Membership, PageRequest, Slice};

/// The hashes of fresh secrets of a session, with their ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSecrets {
    /// SHA-256 of the access token.
    pub access: [u8; 32],
    /// When it ends.
    pub access_expires_at: Timestamp,
    /// SHA-256 of the refresh token.
    pub refresh: [u8; 32],
    /// When it ends.
    pub refresh_expires_at: Timestamp,
}

/// A session to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// What the client calls itself.
    pub client: String,
    /// Where it comes from.
    pub address: String,
    /// Its absolute end.
    pub expires_at: Timestamp,
}

/// A session, for its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Id.
    pub id: SessionId,
    /// What the client calls itself.
    pub client: String,
    /// Where it came from.
    pub address: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub refreshed_at: Timestamp,
    /// Its absolute end.
    pub expires_at: Timestamp,
}

/// A refresh token, with what is needed to decide on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// Its session.
    pub session: SessionId,
    /// Its session's user.
    pub user: UserId,
    /// Its generation.
    pub generation: i64,
    /// Its end.
    pub expires_at: Timestamp,
    /// The session.
    pub chain: Chain,
}

/// An API token to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiToken {
    /// Id.
    pub id: TokenId,
    /// Whose.
    pub user: UserId,
    /// Where it works.
    pub workspace: WorkspaceId,
    /// What it is for.
    pub name: String,
    /// Separated by spaces.
    pub scopes: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// When it ends; none for never.
    pub expires_at: Option<Timestamp>,
}

/// An API token, for its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Id.
    pub id: TokenId,
    /// Where it works.
    pub workspace: WorkspaceId,
    /// The name of that.
    pub workspace_name: String,
    /// What it is for.
    pub name: String,
    /// Separated by spaces.
    pub scopes: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; none for never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the hour.
    pub last_used_at: Option<Timestamp>,
}

/// What a bearer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An access token.
    Session {
        /// Of this session.
        id: SessionId,
        /// When its user last proved who they are.
        proved_at: Timestamp,
    },
    /// An API token.
    Token {
        /// This one.
        id: TokenId,
        /// Separated by spaces.
        scopes: String,
        /// When it was last used, to the hour.
        last_used_at: Option<Timestamp>,
    },
}

/// An active user who holds a secret that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The user.
    pub user: UserId,
    /// Their address.
    pub email: String,
    /// Whether they run the system.
    pub operator: bool,
    /// Whether they have a second factor.
    pub second_factor: bool,
    /// What they hold.
    pub credential: Credential,
    /// Where it works; none: they are a member of no workspace.
    pub membership: Option<Membership>,
    /// When the secret ends; none for never.
    pub expires_at: Option<Timestamp>,
}

/// Sessions and API tokens.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Begins a session in the user's oldest workspace, proven now; `Stale` when the user is not active.
    async fn begin_session(
        &self,
        session: NewSession,
        secrets: NewSecrets,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// The bearer of an access token, unless it, its session or its user has ended.
    async fn find_session_bearer(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<Bearer>, Error>;

    /// The bearer of an API token, unless it is expired or revoked, or its user inactive or no longer a member.
    async fn find_token_bearer(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<Bearer>, Error>;

    /// A refresh token of an active user, with its session.
    async fn find_refresh_token(&self, hash: [u8; 32]) -> Result<Option<RefreshToken>, Error>;

    /// Moves a session on from `generation`, with fresh secrets; `Stale` when it was moved on or ended meanwhile.
    async fn advance_session(
        &self,
        id: SessionId,
        generation: i64,
        secrets: NewSecrets,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Adds fresh secrets to a session that stands at `generation`; `Stale` when it was moved on or ended meanwhile.
    async fn repeat_secrets(&self, id: SessionId, generation: i64, secrets: NewSecrets) -> Result<(), Error>;

    /// Ends a session, and with it all of its secrets; says whether it was going on.
    async fn end_session(&self, user: UserId, id: SessionId, now: Timestamp) -> Result<bool, Error>;

    /// The user's sessions that go on, newest first.
    async fn list_sessions(
        &self,
        user: UserId,
        page: PageRequest,
        now: Timestamp,
    ) -> Result<Slice<Session>, Error>;

    /// Lets a session work in another workspace of its user; `Stale` when they are no member there.
    async fn switch_workspace(
        &self,
        user: UserId,
        id: SessionId,
        workspace: WorkspaceId,
    ) -> Result<(), Error>;

    /// The session's user has proven who they are.
    async fn prove_session(&self, id: SessionId, now: Timestamp) -> Result<(), Error>;

    /// Adds an API token; `Stale` when the user is no member of its workspace. Asked again within [`REPEATED`](crate::REPEATED)
    /// with the same id, name and scopes, it gives the token the new hash and end in place of the earlier ones; any other
    /// use of the id is a conflict. Returns when the token was made.
    async fn add_api_token(&self, token: NewApiToken, now: Timestamp) -> Result<Timestamp, Error>;

    /// The user's own, newest first, whatever became of them.
    async fn list_api_tokens(&self, user: UserId, page: PageRequest) -> Result<Slice<ApiToken>, Error>;

    /// Refuses one from now on; says whether there is one.
    async fn revoke_api_token(&self, user: UserId, id: TokenId, now: Timestamp) -> Result<bool, Error>;

    /// Notes that a token is used.
    async fn touch_api_token(&self, id: TokenId, now: Timestamp) -> Result<(), Error>;

    /// Deletes what has ended before `before`, at most `limit` sessions and counters; says how many.
    async fn purge_sessions(&self, before: Timestamp, limit: u32) -> Result<u64, Error>;
}
