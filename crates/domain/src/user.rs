//! Users: their address, how they stand, and which passwords are good enough.

use std::fmt;
use std::str::FromStr;

use crate::field::Violations;

/// Longest address, in bytes (RFC 5321, 4.5.3.1.3).
const EMAIL_MAX: usize = 254;
/// Shortest password, in characters.
pub const PASSWORD_MIN: usize = 12;
/// Shortest password of a user with a second factor.
pub const PASSWORD_MIN_WITH_FACTOR: usize = 8;
/// Longest password, in characters: hashing more only costs time.
pub const PASSWORD_MAX: usize = 256;
/// Least strength, on zxcvbn's scale of 0 to 4: safe from offline guessing for a while.
pub const STRENGTH_MIN: u8 = 3;

/// An e-mail address, in lower case: one person is one user however they write it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

/// A text that is no e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no e-mail address; write e.g. you@example.com")]
pub struct InvalidEmail;

/// How a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Registered; waits for an operator.
    Pending,
    /// May sign in.
    Active,
    /// Shut out by an operator.
    Suspended,
}

/// What happens to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An operator lets a registered user in, or an invitation does.
    Approved,
    /// An operator shuts the user out.
    Suspended,
    /// An operator lets the user in again.
    Reinstated,
}

/// The state does not allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user is {}", .0.name())]
pub struct Rejected(pub State);

/// The next state; an event that has happened already changes nothing.
pub fn step(state: State, event: Event) -> Result<State, Rejected> {
    match (state, event) {
        (State::Pending | State::Active, Event::Approved) => Ok(State::Active),
        (_, Event::Suspended) => Ok(State::Suspended),
        (State::Suspended | State::Active, Event::Reinstated) => Ok(State::Active),
        (State::Suspended, Event::Approved) | (State::Pending, Event::Reinstated) => Err(Rejected(state)),
    }
}

/// Whether a user has a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondFactor {
    /// One that was proven to work.
    Present,
    /// None.
    Absent,
}

/// Records what is wrong with a new password under `field`. `strength` is zxcvbn's score, with its advice if it has any.
pub fn check_password(
    violations: &mut Violations,
    field: &str,
    password: &str,
    email: &Email,
    factor: SecondFactor,
    strength: (u8, Option<&str>),
) {
    let least = match factor {
        SecondFactor::Present => PASSWORD_MIN_WITH_FACTOR,
        SecondFactor::Absent => PASSWORD_MIN,
    };
    let length = password.chars().count();
    let (score, advice) = strength;
    if length < least {
        violations.push(field, format!("has {length} characters; at least {least} are needed"));
    } else if length > PASSWORD_MAX {
        violations.push(field, format!("has {length} characters; at most {PASSWORD_MAX} are allowed"));
    } else if is_address(password, email) {
        violations.push(field, "is your e-mail address; choose something that others do not know");
    } else if score < STRENGTH_MIN {
        let advice = advice.unwrap_or("Add another word or two; uncommon words are better.");
        violations.push(field, format!("is easy to guess. {advice}"));
    }
}

fn is_address(password: &str, email: &Email) -> bool {
    let password = password.trim().to_lowercase();
    password == email.0 || email.0.split('@').next() == Some(password.as_str())
}

// === impl Email ===

impl Email {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim().to_lowercase();
        let fine = text.len() <= EMAIL_MAX
            && !text.chars().any(|c| c.is_whitespace() || c.is_control())
            && text
                .rsplit_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && !name.contains('@') && host.len() > 1);
        if fine { Ok(Self(text)) } else { Err(InvalidEmail) }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl State ===

impl State {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Suspended].into_iter().find(|state| state.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_is_one_address() {
        let ada = |text: &str| text.parse::<Email>().expect("valid");
        assert_eq!(ada(" Ada@Example.com "), ada("ada@example.com"));
        for wrong in
            ["", "ada", "@example.com", "ada@", "ada@x", "a b@example.com", "a@b@c.d", "a\n@example.com"]
        {
            assert!(wrong.parse::<Email>().is_err(), "{wrong:?}");
        }
        assert!(format!("{}@example.com", "a".repeat(250)).parse::<Email>().is_err());
    }

    #[test]
    fn only_approval_or_an_invitation_lets_a_registered_user_in() {
        assert_eq!(step(State::Pending, Event::Approved), Ok(State::Active));
        assert_eq!(step(State::Pending, Event::Reinstated), Err(Rejected(State::Pending)));
        assert_eq!(step(State::Suspended, Event::Approved), Err(Rejected(State::Suspended)));
        assert_eq!(step(State::Suspended, Event::Reinstated), Ok(State::Active));
        for state in [State::Pending, State::Active, State::Suspended] {
            assert_eq!(step(state, Event::Suspended), Ok(State::Suspended));
        }
    }

    #[test]
    fn passwords_are_long_or_backed_by_a_factor_and_hard_to_guess() {
        use SecondFactor::{Absent, Present};
        let email: Email = "long.name.of.ada@example.com".parse().expect("valid");
        let check = |password: &str, factor, score| {
            let mut violations = Violations::new();
            check_password(&mut violations, "password", password, &email, factor, (score, None));
            violations.0.pop().map(|violation| violation.description)
        };
        assert_eq!(check("twelve chars", Absent, 3), None);
        assert!(check("eleven char", Absent, 4).is_some_and(|told| told.contains("at least 12")));
        assert_eq!(check("eight ch", Present, 3), None);
        assert!(check("seven c", Present, 4).is_some_and(|told| told.contains("at least 8")));
        assert!(check(&"é".repeat(257), Absent, 4).is_some_and(|told| told.contains("at most 256")));
        assert_eq!(check(&"é".repeat(256), Absent, 4), None);
        assert!(check("Long.Name.of.Ada@example.com", Absent, 4).is_some());
        assert!(check("LONG.name.of.ada", Absent, 4).is_some());
        assert!(check("passwordpassword", Absent, 2).is_some_and(|told| told.contains("easy to guess")));
    }
}
