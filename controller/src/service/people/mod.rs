//! Who may do what: users, workspaces, sessions, API tokens, second factors.
//!
//! [`People`] stands beside [`Core`]: it also has what only these use cases need, the hashing of passwords, the sealing of
//! seeds, and the policy. Every secret that it gives out is 256 random bits with a prefix that tells its kind, so that
//! scanners for leaked secrets know it, and is stored as a SHA-256 hash.
//!
//! To add a use case: a method in the file of its noun; its handler in `grpc`; the `access` option on its method.

pub mod bearer;
pub mod credential;
pub mod factor;
pub mod hashing;
pub mod password;
pub mod session;
pub mod throttle;
pub mod token;
pub mod user;
pub mod workspace;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tradepost_domain::time::Timestamp;
use tradepost_store::Database;
use zeroize::Zeroizing;

use self::bearer::Seen;
use self::hashing::Hashing;
use self::throttle::Waiting;
use super::core::Core;
use crate::seal::Sealer;

/// What the operator of this installation decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether operators must have a second factor before they act as such in a session.
    pub operators_need_second_factor: bool,
    /// Calls of one token in a minute, over all controllers; 0 for no limit.
    pub calls_per_minute: u32,
}

/// Use cases of users; cheap to clone.
#[derive(Clone)]
pub struct People {
    /// The time and randomness.
    pub core: Core,
    store: Arc<dyn Database>,
    sealer: Sealer,
    hashing: Hashing,
    policy: Policy,
    seen: Seen,
    waiting: Waiting,
}

/// Where a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address, behind trusted proxies the one that they name.
    pub address: IpAddr,
}

/// The kind of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Refresh,
    ApiToken,
    Invitation,
    Reset,
}

/// A fresh secret: the text is shown once, the hash is kept.
struct Secret {
    text: String,
    hash: [u8; 32],
}

impl People {
    /// On a database; `sealer` opens what it holds.
    pub fn new(core: Core, store: Arc<dyn Database>, sealer: Sealer, policy: Policy) -> Self {
        let hashing = Hashing::new(core.ids.clone());
        Self { core, store, sealer, hashing, policy, seen: Seen::default(), waiting: Waiting::default() }
    }

    fn now(&self) -> Timestamp {
        self.core.now()
    }

    fn secret(&self, kind: Kind) -> Secret {
        let bytes = Zeroizing::new(self.core.secret());
        let text = format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let hash = hash(&text);
        Secret { text, hash }
    }
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Access => "tps_",
            Self::Refresh => "tpr_",
            Self::ApiToken => "tpt_",
            Self::Invitation => "tpi_",
            Self::Reset => "tpw_",
        }
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.trim().as_bytes()).into()
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("People").field("policy", &self.policy).finish_non_exhaustive()
    }
}
