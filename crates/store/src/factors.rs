//! Second factors.

use async_trait::async_trait;
use tradepost_domain::id::{SessionId, UserId};
use tradepost_domain::time::Timestamp;

use crate::Error;

/// A secret that the controller must read, sealed under one of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Of the key.
    pub key_version: i64,
    /// Nonce and ciphertext.
    pub content: Vec<u8>,
}

/// An authenticator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// Its seed.
    pub seed: Sealed,
    /// The newest time step whose code was used.
    pub last_step: i64,
    /// When it was proven to work; none: not yet.
    pub confirmed_at: Option<Timestamp>,
}

/// Second factors. Codes are used up here, by compare-and-set: of controllers that race one code, one succeeds.
#[async_trait]
pub trait Factors: Send + Sync {
    /// Begins, or begins anew; `Stale` when the user has a confirmed one, `Conflict::KeySuperseded` when the seed is not
    /// sealed under the system's data key in use.
    async fn begin_factor(&self, user: UserId, seed: Sealed, now: Timestamp) -> Result<(), Error>;

    /// The user's.
    async fn find_factor(&self, user: UserId) -> Result<Option<Factor>, Error>;

    /// Confirms the one that was begun, using up the code of `step`, and sets the hashes of the recovery codes; `Stale`
    /// when there is none to confirm, or the code is used.
    async fn confirm_factor(
        &self,
        user: UserId,
        step: i64,
        codes: Vec<[u8; 32]>,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Uses up the code of `step`; says whether that worked: none at or before a used step does.
    async fn use_step(&self, user: UserId, step: i64) -> Result<bool, Error>;

    /// Uses up a recovery code; says whether that worked.
    async fn use_recovery_code(&self, user: UserId, hash: [u8; 32], now: Timestamp) -> Result<bool, Error>;

    /// Replaces the recovery codes; `Stale` when the user has no confirmed factor.
    async fn replace_recovery_codes(&self, user: UserId, codes: Vec<[u8; 32]>) -> Result<(), Error>;

    /// Removes the factor and its codes; every session but `keep` ends. Says whether there was one.
    async fn remove_factor(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        now: Timestamp,
    ) -> Result<bool, Error>;
}
