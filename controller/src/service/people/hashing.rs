//! Passwords: Argon2id (RFC 9106) with 64 MiB, 3 passes and 1 lane, that is 150 to 400 ms of one core.
//!
//! At most four at once, and never on more than half of the cores, so that other calls stay responsive while somebody
//! tries passwords. Who would have to wait behind many others is told to come back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tradepost_runtime::ids::Ids;
use zeroize::Zeroizing;

use crate::service::error::{Error, Reason, Result};

/// KiB.
const MEMORY: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
const AT_ONCE_MAX: usize = 4;
/// As many wait at most.
const WAITING_MAX: usize = 32;
/// What an unknown user's password is checked against: the time is the same, and nothing matches it.
const NOBODY: &str =
    "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and checks passwords. Clones share their limits.
#[derive(Clone)]
pub struct Hashing {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    ids: Ids,
}

/// A place among those who sign in at this moment.
pub struct Place {
    _held: OwnedSemaphorePermit,
}

/// What a check of a password found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Another password.
    Wrong,
    /// The right one.
    Right,
    /// The right one, hashed with parameters of another time.
    RightButOld,
}

impl Hashing {
    /// With the limits of this machine.
    pub fn new(ids: Ids) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = (cores / 2).clamp(1, AT_ONCE_MAX);
        Self {
            running: Arc::new(Semaphore::new(at_once)),
            waiting: Arc::new(Semaphore::new(at_once + WAITING_MAX)),
            ids,
        }
    }

    /// A place, for who will hash; refused at once, before anything else is done for them, when too many have one.
    pub fn reserve(&self) -> Result<Place> {
        let reserved = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| {
            Error::new(Reason::TooBusy, "too many people are signing in at this moment")
                .retry_after(Duration::from_secs(2))
        });
        Ok(Place { _held: reserved? })
    }

    /// The PHC string of a password.
    pub async fn hash(&self, password: &str) -> Result<String> {
        let mut salt = [0_u8; 16];
        self.ids.fill(&mut salt);
        let password = Zeroizing::new(password.as_bytes().to_vec());
        self.run(move || {
            let hash = hasher()?
                .hash_password_with_salt(&password, &salt)
                .map_err(|error| Error::internal(error.to_string()))?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Checks a password; without a hash it takes as long and is wrong.
    pub async fn check(&self, password: &str, hash: Option<&str>) -> Result<Checked> {
        let password = Zeroizing::new(password.as_bytes().to_vec());
        let known = hash.is_some();
        let hash = hash.unwrap_or(NOBODY).to_owned();
        self.run(move || {
            let parsed = PasswordHash::new(&hash).map_err(|error| Error::internal(error.to_string()))?;
            // The hash's own parameters count.
            let right = Argon2::default().verify_password(&password, &parsed).is_ok();
            Ok(match (right && known, is_current(&parsed)) {
                (false, _) => Checked::Wrong,
                (true, true) => Checked::Right,
                (true, false) => Checked::RightButOld,
            })
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(Error::internal)?;
        // The permit goes along: a caller that gives up does not make room while the work goes on.
        let worked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        worked.await.map_err(Error::internal)?
    }
}

fn hasher() -> Result<Argon2<'static>> {
    let params =
        Params::new(MEMORY, PASSES, LANES, None).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn is_current(hash: &PasswordHash) -> bool {
    let params = Params::try_from(hash);
    hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
        && params.is_ok_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY, PASSES, LANES)
        })
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passwords_are_checked_and_old_parameters_noticed() {
        let hashing = Hashing::new(Ids::seeded(1));
        let hash = hashing.hash("correct horse").await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=65536,t=3,p=1$"), "{hash}");
        assert_ne!(hashing.hash("correct horse").await.expect("hashed"), hash, "the salt differs");
        let check =
            async |password: &str, hash: Option<&str>| hashing.check(password, hash).await.expect("checked");
        assert_eq!(check("correct horse", Some(&hash)).await, Checked::Right);
        assert_eq!(check("Correct horse", Some(&hash)).await, Checked::Wrong);
        assert_eq!(check("correct horse", None).await, Checked::Wrong);
        let weak =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1024, 1, 1, None).expect("valid"));
        let old = weak.hash_password_with_salt(b"correct horse", &[7; 16]).expect("hashed").to_string();
        assert_eq!(check("correct horse", Some(&old)).await, Checked::RightButOld);
        assert_eq!(check("other", Some(&old)).await, Checked::Wrong);
    }

    /// Checking it costs what checking a present user's password costs.
    #[test]
    fn nobodys_hash_has_the_parameters_and_lengths_of_everybody_elses() {
        let nobody = PasswordHash::new(NOBODY).expect("a PHC string");
        assert!(is_current(&nobody));
        let fresh = hasher().and_then(|hasher| {
            hasher.hash_password_with_salt(b"x", &[7; 16]).map_err(|error| Error::internal(error.to_string()))
        });
        let (fresh, length) = (fresh.expect("hashed"), NOBODY.len());
        assert_eq!(fresh.to_string().len(), length);
        assert_eq!(nobody.hash.map(|hash| hash.len()), fresh.hash.map(|hash| hash.len()));
        assert_eq!(nobody.salt.map(|salt| salt.len()), fresh.salt.map(|salt| salt.len()));
    }

    #[tokio::test]
    async fn who_would_wait_behind_many_is_told_to_come_back() {
        let hashing = Hashing::new(Ids::seeded(1));
        let all = u32::try_from(hashing.waiting.available_permits()).expect("few");
        let _full = hashing.waiting.acquire_many(all).await.expect("open");
        let refused = hashing.reserve().map(drop).expect_err("full");
        assert_eq!(refused.reason, Reason::TooBusy);
        assert!(refused.retry_after.is_some());
    }
}
