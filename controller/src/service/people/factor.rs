//! Second factors: codes of an authenticator (RFC 6238) and recovery codes. A code works once, on whichever controller.

use totp_rs::{Builder, Secret, Totp};
use tradepost_domain::audit::Target;
use tradepost_domain::id::UserId;
use tradepost_domain::throttle;
use tradepost_store::{Bearer, Conflict, Error as StoreError, Factor, Scope, audit};
use zeroize::Zeroizing;

use super::session::{session_of, user_missing};
use super::{People, hash};
use crate::seal::{self, Place};
use crate::service::core::TRIES;
use crate::service::error::{Error, Reason, Result};

/// As RFC 4226 (R6) recommends, in bytes.
const SEED: usize = 20;
const RECOVERY_CODES: usize = 10;
/// 80 bits each.
const RECOVERY_BYTES: usize = 10;
/// A code of the step before or after also counts: clocks differ.
const SKEW: u16 = 1;

/// What an authenticator is set up with.
#[derive(Clone)]
pub struct Seed {
    /// Base32, for typing in.
    pub secret: String,
    /// For a QR code.
    pub uri: String,
}

impl People {
    /// Begins a second factor, or begins it anew; nothing is asked at sign-in until it is confirmed.
    pub async fn begin_factor(&self, bearer: &Bearer) -> Result<Seed> {
        session_of(bearer)?;
        let mut seed = Zeroizing::new([0_u8; SEED]);
        self.core.ids.fill(seed.as_mut_slice());
        let totp = totp(seed.as_slice(), &bearer.email)?;
        let uri = totp.to_url().map_err(|error| Error::internal(error.to_string()))?;
        audit::about(Target::User, bearer.user.0);
        for _ in 0..TRIES {
            let sealed = self.sealer.seal(Place::seed(bearer.user), seed.as_slice(), self.now()).await;
            let sealed = sealed.map_err(Error::internal)?;
            match self.store.begin_factor(bearer.user, sealed, self.now()).await {
                Err(StoreError::Stale) => {
                    let message = "you have a second factor already; remove it first to set up another one";
                    return Err(Error::new(Reason::SecondFactorPresent, message));
                }
                Err(StoreError::Conflict(Conflict::KeySuperseded)) => self.sealer.look_again(Scope::System),
                begun => {
                    return Ok(
                        begun.map(|()| Seed { secret: Secret::from(seed.as_slice()).to_base32(), uri })?
                    );
                }
            }
        }
        Err(Error::contention())
    }

    /// Confirms it with a code, and gives the recovery codes.
    pub async fn confirm_factor(&self, bearer: &Bearer, code: &str) -> Result<Vec<String>> {
        session_of(bearer)?;
        let nothing = || {
            let message = "there is no second factor to confirm; begin to set one up first";
            Error::new(Reason::SecondFactorAbsent, message)
        };
        let factor = self.store.find_factor(bearer.user).await?.ok_or_else(nothing)?;
        if factor.confirmed_at.is_some() {
            return Err(nothing());
        }
        let key = self.count_code(bearer.user).await?;
        let step = self.step(bearer.user, &bearer.email, factor, code).await?.ok_or_else(wrong_code)?;
        let (codes, hashes) = self.recovery_codes(bearer.user);
        audit::about(Target::User, bearer.user.0);
        match self.store.confirm_factor(bearer.user, step, hashes, self.now()).await {
            Err(StoreError::Stale) => return Err(nothing()),
            confirmed => confirmed?,
        }
        self.store.forget(&key).await?;
        self.look_again();
        Ok(codes)
    }

    /// Ten new recovery codes in place of the old ones.
    pub async fn replace_recovery_codes(&self, bearer: &Bearer) -> Result<Vec<String>> {
        session_of(bearer)?;
        let (codes, hashes) = self.recovery_codes(bearer.user);
        audit::about(Target::User, bearer.user.0);
        match self.store.replace_recovery_codes(bearer.user, hashes).await {
            Err(StoreError::Stale) => Err(absent()),
            replaced => Ok(replaced.map(|()| codes)?),
        }
    }

    /// Removes the caller's own second factor; their other sessions end.
    pub async fn remove_factor(&self, bearer: &Bearer) -> Result<()> {
        let session = session_of(bearer)?;
        audit::about(Target::User, bearer.user.0);
        let removed = self.store.remove_factor(bearer.user, Some(session), self.now()).await?;
        self.look_again();
        if removed { Ok(()) } else { Err(absent()) }
    }

    /// Removes the second factor of somebody who has lost it; all of their sessions end.
    pub async fn reset_factor(&self, id: UserId) -> Result<tradepost_store::User> {
        audit::about(Target::User, id.0);
        let removed = self.store.remove_factor(id, None, self.now()).await?;
        self.store.forget(&codes_key(id)).await?;
        self.look_again();
        let user = self.store.find_user(id).await?.ok_or_else(|| user_missing(id))?;
        if removed {
            Ok(user)
        } else {
            Err(Error::new(Reason::SecondFactorAbsent, "the user has no second factor"))
        }
    }

    /// Uses up a code of the user's second factor, or a recovery code.
    pub(super) async fn use_code(&self, user: UserId, code: &str) -> Result<()> {
        let code: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        if code.is_empty() {
            let message = "a code of your authenticator is needed, or a recovery code";
            return Err(Error::new(Reason::SecondFactorRequired, message));
        }
        let key = self.count_code(user).await?;
        let good = if code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()) {
            let factor = self.store.find_factor(user).await?.ok_or_else(absent)?;
            match self.step(user, "", factor, &code).await? {
                Some(step) => self.store.use_step(user, step).await?,
                None => false,
            }
        } else {
            self.store.use_recovery_code(user, code_hash(user, &code), self.now()).await?
        };
        if !good {
            return Err(wrong_code());
        }
        Ok(self.store.forget(&key).await?)
    }

    async fn count_code(&self, user: UserId) -> Result<String> {
        let key = codes_key(user);
        self.count_key(&key, throttle::CODES).await?;
        Ok(key)
    }

    /// The time step that `code` belongs to, if it is near enough.
    async fn step(&self, user: UserId, email: &str, factor: Factor, code: &str) -> Result<Option<i64>> {
        let seed = self.open_seed(user, factor).await?;
        let seconds = u64::try_from(self.now().as_micros() / 1_000_000).unwrap_or(0);
        let step = totp(&seed, email)?.check(code.trim(), seconds);
        Ok(step.and_then(|step| i64::try_from(step).ok()))
    }

    /// The seed of a user's authenticator.
    pub async fn read_seed(&self, user: UserId) -> Result<Zeroizing<Vec<u8>>> {
        let factor = self.store.find_factor(user).await?.ok_or_else(absent)?;
        self.open_seed(user, factor).await
    }

    async fn open_seed(&self, user: UserId, factor: Factor) -> Result<Zeroizing<Vec<u8>>> {
        let place = Place::seed(user);
        let seed = match self.sealer.open(place, &factor.seed).await {
            // It was sealed anew since it was read, and its old key retired.
            Err(seal::Error::NoDataKey { .. }) => {
                let factor = self.store.find_factor(user).await?.ok_or_else(absent)?;
                self.sealer.open(place, &factor.seed).await
            }
            opened => opened,
        };
        seed.map_err(Error::internal)
    }

    fn recovery_codes(&self, user: UserId) -> (Vec<String>, Vec<[u8; 32]>) {
        let code = || {
            let mut bytes = [0_u8; RECOVERY_BYTES];
            self.core.ids.fill(&mut bytes);
            let text = Secret::from(bytes).to_base32().to_lowercase();
            let parts: Vec<&str> = [0, 4, 8, 12].iter().filter_map(|at| text.get(*at..at + 4)).collect();
            parts.join("-")
        };
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| code()).collect();
        let hashes = codes.iter().map(|code| code_hash(user, &code.replace('-', ""))).collect();
        (codes, hashes)
    }
}

fn codes_key(user: UserId) -> String {
    format!("codes:{user}")
}

fn code_hash(user: UserId, code: &str) -> [u8; 32] {
    hash(&format!("{user} {}", code.to_lowercase()))
}

fn totp(seed: &[u8], email: &str) -> Result<Totp> {
    Builder::new()
        .with_secret(seed)
        .with_skew(SKEW)
        .with_issuer(Some("Tradepost"))
        .with_account_name(email.replace(':', "_"))
        .build()
        .map_err(|error| Error::internal(error.to_string()))
}

fn wrong_code() -> Error {
    Error::new(Reason::CodeInvalid, "the code is wrong or was used already; wait for the next one")
}

fn absent() -> Error {
    Error::new(Reason::SecondFactorAbsent, "you have no second factor")
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed").finish_non_exhaustive()
    }
}
