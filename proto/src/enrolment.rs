//! The enrolment string: what a person copies from the controller to a PC to make it an agent.
//!
//! It is `tp1.` and base64url (without padding) of the JSON object `{"a": address, "p": pin, "s": secret}`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// What every enrolment string begins with; the digit is the version of its form.
const PREFIX: &str = "tp1.";
/// Longer ones are refused unread.
const LENGTH_MAX: usize = 2_000;

/// Where to enrol, whom to trust there, and the single-use secret.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentString {
    /// host:port of the controller's api listener.
    pub address: String,
    /// SHA-256 of the controller's root certificate (DER).
    pub pin: [u8; 32],
    /// The token's secret; single use.
    pub secret: String,
}

/// A text that is not an enrolment string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnrolmentString {
    /// Not of this form at all.
    #[error(
        "this is not an enrolment string: it must begin with {PREFIX:?}; copy it whole from `tradepost agents enrol-token create`"
    )]
    Form,
    /// Cut off or changed.
    #[error(
        "the enrolment string is damaged; copy it whole, without spaces or line breaks, or make a new one with `tradepost agents enrol-token create`"
    )]
    Damaged,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    a: String,
    p: String,
    s: String,
}

impl fmt::Display for EnrolmentString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = Body { a: self.address.clone(), p: hex::encode(self.pin), s: self.secret.clone() };
        let json = serde_json::to_vec(&body).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

/// Without the secret.
impl fmt::Debug for EnrolmentString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentString")
            .field("address", &self.address)
            .field("pin", &hex::encode(self.pin))
            .finish_non_exhaustive()
    }
}

impl FromStr for EnrolmentString {
    type Err = InvalidEnrolmentString;

    fn from_str(text: &str) -> Result<Self, InvalidEnrolmentString> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(InvalidEnrolmentString::Form)?;
        let damaged = InvalidEnrolmentString::Damaged;
        if encoded.len() > LENGTH_MAX {
            return Err(damaged);
        }
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| damaged)?;
        let body: Body = serde_json::from_slice(&json).map_err(|_| damaged)?;
        let mut pin = [0_u8; 32];
        hex::decode_to_slice(&body.p, &mut pin).map_err(|_| damaged)?;
        let port = body
            .a
            .rsplit_once(':')
            .and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
        if port.is_none() || body.s.is_empty() {
            return Err(damaged);
        }
        Ok(Self { address: body.a, pin, secret: body.s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> EnrolmentString {
        EnrolmentString { address: "[::1]:7443".into(), pin: [7; 32], secret: "s3cret".into() }
    }

    #[test]
    fn strings_round_trip_and_surrounding_white_space_is_forgiven() {
        let text = sample().to_string();
        assert!(text.starts_with("tp1."));
        assert_eq!(format!(" {text}\n").parse(), Ok(sample()));
    }

    #[test]
    fn every_cut_is_noticed() {
        let text = sample().to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<EnrolmentString>().is_err(), "cut at {end} was accepted");
        }
        assert_eq!("hello".parse::<EnrolmentString>(), Err(InvalidEnrolmentString::Form));
    }

    #[test]
    fn the_secret_does_not_appear_in_debug_output() {
        assert!(!format!("{:?}", sample()).contains("s3cret"));
    }
}
