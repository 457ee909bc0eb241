//! How sessions live: what a refresh token does, and how long a proof of identity counts.
//!
//! A session is a chain of refresh tokens, numbered by generation. The token of the session's own generation moves it on.
//! Its immediate predecessor is forgiven for a moment, as when an answer got lost or two programs refreshed at once; any
//! other has been used before, by its owner or by a thief: the whole session ends (RFC 9700, 4.14.2).

use std::time::Duration;

use crate::time::Timestamp;

/// An access token works this long.
pub const ACCESS: Duration = Duration::from_secs(10 * 60);
/// A session that is not refreshed within this time has ended.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// A session ends after this time, whatever is done.
pub const ABSOLUTE: Duration = Duration::from_secs(12 * 3600);
/// A refresh token that was used may be used again within this time, as long as its successor was not.
pub const LEEWAY: Duration = Duration::from_secs(10);
/// A proof of identity counts this long for what needs a recent one.
pub const PROOF: Duration = Duration::from_secs(10 * 60);

/// A session as far as refreshing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// How often it was moved on.
    pub generation: i64,
    /// When it was last moved on.
    pub refreshed_at: Timestamp,
    /// Its absolute end.
    pub expires_at: Timestamp,
    /// Whether it was ended.
    pub revoked: bool,
}

/// What presenting a refresh token does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// The session moves on by one generation.
    Advance,
    /// Fresh tokens of the generation that the session has reached already.
    Again,
    /// Somebody has used this token before: the session ends.
    Reused,
    /// The session or the token has ended.
    Ended,
}

/// What presenting a refresh token of `generation`, which ends at `token_expires_at`, does.
pub fn refresh(chain: &Chain, generation: i64, token_expires_at: Timestamp, now: Timestamp) -> Refresh {
    if chain.revoked || chain.expires_at <= now {
        return Refresh::Ended;
    }
    if generation == chain.generation {
        return if token_expires_at <= now { Refresh::Ended } else { Refresh::Advance };
    }
    if generation + 1 == chain.generation && now.since(chain.refreshed_at) <= LEEWAY {
        return Refresh::Again;
    }
    Refresh::Reused
}

/// Whether somebody who proved who they are at `proved_at` need not do so again.
pub fn is_proven(proved_at: Timestamp, now: Timestamp) -> bool {
    now.since(proved_at) <= PROOF
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn chain(generation: i64) -> Chain {
        Chain { generation, refreshed_at: T0, expires_at: T0 + ABSOLUTE, revoked: false }
    }

    #[test]
    fn only_the_newest_token_moves_a_session_on() {
        assert_eq!(refresh(&chain(3), 3, T0 + IDLE, T0 + ACCESS), Refresh::Advance);
        assert_eq!(refresh(&chain(3), 3, T0 + IDLE, T0 + IDLE), Refresh::Ended);
        assert_eq!(refresh(&chain(3), 3, T0 + ABSOLUTE + IDLE, T0 + ABSOLUTE), Refresh::Ended);
        assert_eq!(refresh(&Chain { revoked: true, ..chain(3) }, 3, T0 + IDLE, T0), Refresh::Ended);
    }

    #[test]
    fn the_immediate_predecessor_alone_is_forgiven_for_ten_seconds() {
        let after = |generation, delay| refresh(&chain(3), generation, T0 + IDLE, T0 + delay);
        assert_eq!(after(2, LEEWAY), Refresh::Again);
        assert_eq!(after(2, LEEWAY + Duration::from_micros(1)), Refresh::Reused);
        assert_eq!(after(1, Duration::ZERO), Refresh::Reused);
        assert_eq!(after(0, Duration::ZERO), Refresh::Reused);
        // A generation that was never given out is no way in.
        assert_eq!(after(4, Duration::ZERO), Refresh::Reused);
    }
}
