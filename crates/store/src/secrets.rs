//! What the controller must read and nobody else: data keys, and what is sealed under them.

use async_trait::async_trait;
use tradepost_domain::id::WorkspaceId;
use tradepost_domain::time::Timestamp;
use uuid::Uuid;

use crate::{Error, Sealed};

/// Whose secrets a data key seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Those of no workspace: seeds of second factors.
    System,
    /// Those of one tenant.
    Workspace(WorkspaceId),
}

/// A data key, wrapped by a key-encryption key of the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKey {
    /// Whose secrets it seals.
    pub scope: Scope,
    /// The version; greater ones are newer.
    pub version: i64,
    /// Nonce and ciphertext.
    pub wrapped: Vec<u8>,
    /// Since when nothing is sealed under it any more; none for the one in use.
    pub superseded_at: Option<Timestamp>,
}

/// A column that holds sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealedColumn {
    /// Seeds of authenticators, by user.
    SecondFactorSeed,
    /// Marketplace credentials, by account.
    AccountCredential,
}

/// One sealed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// Its row.
    pub id: Uuid,
    /// Whose data key seals it.
    pub scope: Scope,
    /// The value.
    pub sealed: Sealed,
}

/// A value that is sealed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reseal {
    /// Its row.
    pub id: Uuid,
    /// What was read: a row that holds something else by now is left alone.
    pub from: Sealed,
    /// What to put in its place.
    pub to: Sealed,
}

/// Data keys and sealed values. Writers of sealed values name the version of the data key, and are refused with
/// `Conflict::KeySuperseded` once a newer one is in use; so a rotation that has begun one misses nothing.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// Every data key, oldest version first.
    async fn data_keys(&self) -> Result<Vec<DataKey>, Error>;

    /// One data key.
    async fn find_data_key(&self, scope: Scope, version: i64) -> Result<Option<DataKey>, Error>;

    /// The one in use.
    async fn present_data_key(&self, scope: Scope) -> Result<Option<DataKey>, Error>;

    /// Puts a new data key to use, in place of older ones; waits for writers that still use those. Returns the stored one:
    /// whoever was first made it. `Stale` when any scope has a newer version.
    async fn begin_data_key(
        &self,
        scope: Scope,
        version: i64,
        wrapped: Vec<u8>,
        now: Timestamp,
    ) -> Result<DataKey, Error>;

    /// Values of a column sealed under versions below `below`, by version and row, after that place.
    async fn sealed_rows(
        &self,
        column: SealedColumn,
        below: i64,
        after: Option<(i64, Uuid)>,
        limit: u32,
    ) -> Result<Vec<SealedRow>, Error>;

    /// How many values of a column there are of each version.
    async fn count_sealed(&self, column: SealedColumn) -> Result<Vec<(i64, u64)>, Error>;

    /// Puts newly sealed values in place of those that were read, in one transaction; returns how many it was.
    async fn reseal(&self, column: SealedColumn, rows: Vec<Reseal>) -> Result<u64, Error>;

    /// Deletes the data keys of a version; `Conflict::KeyInUse` while one is in use or something is sealed under it.
    async fn retire_data_keys(&self, version: i64) -> Result<(), Error>;
}

impl Scope {
    /// As it is stored: the workspace, or the zero UUID.
    pub fn id(self) -> Uuid {
        match self {
            Self::System => Uuid::nil(),
            Self::Workspace(workspace) => workspace.0,
        }
    }

    /// Of what is stored.
    pub fn of(id: Uuid) -> Self {
        if id.is_nil() { Self::System } else { Self::Workspace(WorkspaceId(id)) }
    }
}

impl SealedColumn {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::SecondFactorSeed, Self::AccountCredential];

    /// Table and column.
    pub fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::SecondFactorSeed => ("second_factors", "sealed_seed"),
            Self::AccountCredential => ("account_credentials", "sealed"),
        }
    }
}
