//! What can go wrong at the seam.

/// A unique rule that a write would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Another account of the workspace has the name.
    AccountName,
    /// Another user has the e-mail address.
    UserEmail,
    /// Another intent of the account is Armed or Unknown (I2).
    AccountBusy,
    /// Another intent of the account was confirmed by the same marketplace listing (I6).
    ItemTaken,
    /// A posting of the same listing on the same account is not settled.
    PostingOpen,
    /// A sign-in of the account has not ended.
    LoginOpen,
    /// A look for the intent has not ended.
    LookOpen,
    /// An agent with the same key exists.
    AgentKey,
    /// The user is a member of the workspace already.
    Member,
    /// The workspace would be left without an active owner.
    LastOwner,
    /// The system would be left without an active operator.
    LastOperator,
    /// The value is sealed under a data key that is no longer in use: seal it anew.
    KeySuperseded,
    /// The key is in use, or something is sealed under it.
    KeyInUse,
    /// Something else with the same id.
    Id,
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The write breaks a unique rule.
    #[error("conflict: {0:?}")]
    Conflict(Conflict),
    /// The fence or the version is no longer the present one; nothing was changed.
    #[error("the row was changed meanwhile")]
    Stale,
    /// What is stored makes no sense; names table, column and row.
    #[error("inconsistent data in {0}")]
    Inconsistent(String),
    /// The database cannot be reached now. The outcome of a write is unknown.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot be opened as it is configured; the text names the cause and the mend.
    #[error("{0}")]
    Setup(String),
    /// A fault of ours.
    #[error("the database refused a statement: {0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}
