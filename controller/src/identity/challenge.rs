//! What an agent signs to come back after its certificate has ended.
//!
//! A challenge is `made at | random | HMAC`, bound to the agent's id, so nothing is stored when one is asked for, and any
//! controller with the same authority takes it. It counts once: the store remembers the newest that an agent answered
//! (`AgentIdentities::answer_challenge`). The agent puts it into the one name of a request for a certificate, together with
//! the fingerprint of the root that it has verified this server with; so the request's own signature proves the key, and an
//! answer given to somebody else's server is worth nothing here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use sha2::{Digest, Sha256};
use tradepost_domain::id::AgentId;
use tradepost_domain::standing::CHALLENGE_LIFE;
use tradepost_domain::time::Timestamp;
use zeroize::Zeroizing;

const RANDOM: usize = 16;
const TAG: usize = 32;
const LENGTH: usize = 8 + RANDOM + TAG;

/// Makes and checks challenges.
pub(super) struct ChallengeKey(hmac::Key);

impl ChallengeKey {
    /// Derived from a CA's key, PKCS#8: all controllers with that authority have the same.
    pub(super) fn derive(ca_key: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"tradepost return challenge key v1");
        hash.update(ca_key);
        let secret = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice()))
    }

    /// A challenge for `agent`.
    pub(super) fn make(&self, agent: AgentId, now: Timestamp, random: [u8; RANDOM]) -> String {
        let mut bytes = now.as_micros().to_be_bytes().to_vec();
        bytes.extend(random);
        let tag = hmac::sign(&self.0, &bound(agent, &bytes));
        bytes.extend(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// When the challenge was made; none when it is not ours, not this agent's, or too old.
    pub(super) fn check(&self, agent: AgentId, challenge: &str, now: Timestamp) -> Option<Timestamp> {
        if challenge.len() > 2 * LENGTH {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(challenge).ok().filter(|bytes| bytes.len() == LENGTH)?;
        let (content, tag) = bytes.split_at(8 + RANDOM);
        hmac::verify(&self.0, &bound(agent, content), tag).ok()?;
        let made_at = Timestamp::from_micros(i64::from_be_bytes(content[..8].try_into().ok()?));
        // Another controller's clock may be ahead of this one's.
        let fresh = now.since(made_at) <= CHALLENGE_LIFE && made_at.since(now) <= CHALLENGE_LIFE;
        fresh.then_some(made_at)
    }
}

fn bound(agent: AgentId, content: &[u8]) -> Vec<u8> {
    [b"tradepost return challenge v1".as_slice(), agent.0.as_bytes(), content].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_challenge_is_one_agents_and_lives_two_minutes() {
        let key = ChallengeKey::derive(b"one");
        let agent = AgentId(uuid::Uuid::from_u128(1));
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let challenge = key.make(agent, now, [7; RANDOM]);
        assert!(challenge.len() <= 200);
        assert_eq!(key.check(agent, &challenge, now + Duration::from_secs(119)), Some(now));
        assert_eq!(key.check(agent, &challenge, now + Duration::from_secs(121)), None);
        assert_eq!(key.check(AgentId(uuid::Uuid::from_u128(2)), &challenge, now), None);
        assert_eq!(ChallengeKey::derive(b"two").check(agent, &challenge, now), None);
        for at in 0..challenge.len() {
            let mut bytes = challenge.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(key.check(agent, &changed, now), None, "changed at {at}");
            assert_eq!(key.check(agent, &challenge[..at], now), None, "cut at {at}");
        }
    }
}
