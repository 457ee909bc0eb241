//! Holding back who tries too much; see [`tradepost_domain::throttle`].

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tradepost_domain::throttle::{self, Window};
use tradepost_domain::time::Timestamp;
use tradepost_domain::user::Email;

use super::{Peer, People};
use crate::service::error::{Error, Reason, Result};

/// A network that a user has signed in from is known this long.
const KNOWN: Duration = Duration::from_secs(90 * 24 * 3600);

/// Keys remembered at most.
const WAITING_MAX: usize = 10_000;

/// Who has to wait, as far as this controller was told.
#[derive(Clone, Default)]
pub(super) struct Waiting {
    keys: Arc<Mutex<HashMap<String, Timestamp>>>,
}

/// The counters of one sign-in.
pub(super) struct Tries {
    pair: String,
    account: String,
    known: String,
}

impl People {
    /// Counts one more of `what` from the peer's network.
    pub(super) async fn count(&self, what: &str, window: Window, peer: Peer) -> Result<()> {
        self.count_key(&format!("{what}:net:{}", network(peer.address)), window).await
    }

    /// Counts one more under `key`. Who has to wait is remembered here, so that hammering costs the database nothing.
    pub(super) async fn count_key(&self, key: &str, window: Window) -> Result<()> {
        let now = self.now();
        if let Some(until) = self.waiting.until(key, now) {
            return Err(too_many(until, now));
        }
        match self.store.hit(key, 1, window, now).await? {
            None => Ok(()),
            Some(until) => {
                self.waiting.remember(key, until, now);
                Err(too_many(until, now))
            }
        }
    }

    /// Counts a try of an account's password, before its outcome is known.
    pub(super) async fn count_try(&self, email: &Email, peer: Peer) -> Result<Tries> {
        let account = hex::encode(&Sha256::digest(email.as_str().as_bytes())[..16]);
        let network = network(peer.address);
        let tries = Tries {
            pair: format!("login:pair:{account}:{network}"),
            account: format!("login:account:{account}"),
            known: format!("login:known:{account}:{network}"),
        };
        let now = self.now();
        // The network's own counter first: who waits there does not count against the account.
        if let Some(until) = self.store.try_now(&tries.pair, throttle::PAIR, now).await? {
            return Err(too_many(until, now));
        }
        if self.store.waits_until(&tries.known, now).await?.is_none()
            && let Some(until) = self.store.try_now(&tries.account, throttle::ACCOUNT, now).await?
        {
            return Err(too_many(until, now));
        }
        Ok(tries)
    }

    /// The password was right: the network is known from now on.
    pub(super) async fn forget_tries(&self, tries: &Tries) -> Result<()> {
        self.store.forget(&tries.pair).await?;
        self.store.forget(&tries.account).await?;
        self.store.mark(&tries.known, self.now() + KNOWN).await?;
        Ok(())
    }
}

impl Waiting {
    fn until(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(key).copied().filter(|until| *until > now)
    }

    fn remember(&self, key: &str, until: Timestamp, now: Timestamp) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= WAITING_MAX {
            keys.retain(|_, until| *until > now);
        }
        if keys.len() < WAITING_MAX {
            keys.insert(key.to_owned(), until);
        }
    }
}

fn too_many(until: Timestamp, now: Timestamp) -> Error {
    let wait = Duration::from_secs(until.since(now).as_secs() + 1);
    Error::new(Reason::TooManyTries, "too many tries in a short time").retry_after(wait)
}

/// The network of an address, as throttles count it: an IPv4 address, or the /64 that one IPv6 customer has.
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_of_ipv6_is_one_network() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
