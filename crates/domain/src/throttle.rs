//! How attackers are held back without locking anybody out.
//!
//! - A [`Window`] allows a number of hits and then waits for its end. Hits while it waits do not prolong it.
//! - A [`Backoff`] makes each further try wait longer. It counts a try before its outcome is known, so that tries at once
//!   count as well; a success forgets it.
//!
//! An account's own backoff is short (at most 30 seconds) and is not asked of networks that the user has signed in from
//! before; the long one is kept for each account and network. So a stranger can delay only their own network for long.

use std::time::Duration;

/// So many hits in this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Hits allowed.
    pub limit: u32,
    /// From the first hit on.
    pub period: Duration,
}

/// Growing delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Tries without any delay.
    pub free: u32,
    /// The delay after the first try that is not free; doubles with each one.
    pub first: Duration,
    /// The longest delay.
    pub cap: Duration,
    /// After this time without a try, counting begins anew.
    pub forget: Duration,
}

/// Logins of one network.
pub const LOGIN: Window = Window { limit: 5, period: Duration::from_secs(60) };
/// Registrations of one network.
pub const REGISTER: Window = Window { limit: 3, period: Duration::from_secs(3600) };
/// Codes of one user's second factor.
pub const CODES: Window = Window { limit: 5, period: Duration::from_secs(15 * 60) };
/// Tries of single-use strings (invitations, resets) and refresh tokens from one network.
pub const STRINGS: Window = Window { limit: 60, period: Duration::from_secs(60) };
/// Passwords of one account from one network.
pub const PAIR: Backoff = Backoff {
    free: 3,
    first: Duration::from_secs(2),
    cap: Duration::from_secs(15 * 60),
    forget: Duration::from_secs(24 * 3600),
};
/// Passwords of one account from networks that it has not been used from.
pub const ACCOUNT: Backoff = Backoff {
    free: 10,
    first: Duration::from_secs(1),
    cap: Duration::from_secs(30),
    forget: Duration::from_secs(3600),
};

impl Backoff {
    /// How long to wait after the `hits`th try.
    pub fn delay(&self, hits: u32) -> Duration {
        let Some(beyond) = hits.checked_sub(self.free + 1) else { return Duration::ZERO };
        self.first.saturating_mul(1_u32.checked_shl(beyond).unwrap_or(u32::MAX)).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_cap() {
        let told: Vec<_> = (0..8).map(|hits| PAIR.delay(hits).as_secs()).collect();
        assert_eq!(told, [0, 0, 0, 0, 2, 4, 8, 16]);
        for hits in [12, 40, 1_000, u32::MAX] {
            assert_eq!(PAIR.delay(hits).max(PAIR.cap), PAIR.cap, "{hits}");
        }
        assert_eq!((PAIR.delay(40), ACCOUNT.delay(u32::MAX)), (PAIR.cap, ACCOUNT.cap));
    }
}
