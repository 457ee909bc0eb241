//! A seller's marketplace credential, sealed to the agent that signs in with it.

use crate::account::Account;
use crate::id::AgentId;

/// Longest sign-in name or password, in characters.
pub const TEXT_MAX: usize = 256;
/// Longest sealed credential, in bytes: name, password, address, and what sealing adds.
pub const SEALED_MAX: usize = 8 * 1024;

/// How a stored credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The agent may use it.
    Ready,
    /// The site did not take it: nobody tries it again.
    Refused,
    /// The account was bound to another agent, which cannot open it; it was deleted.
    Moved,
    /// A person removed it.
    Removed,
}

/// What became of a sign-in with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Somebody is signed in now.
    Accepted,
    /// The site says that name or password is wrong.
    Refused,
    /// Something else came: a challenge, an unknown page, no answer.
    Unclear,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Refused, Self::Moved, Self::Removed];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Refused => "refused",
            Self::Moved => "moved",
            Self::Removed => "removed",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Whether `agent` may have the credential that is sealed to `sealed_to` and stands at `state`: the account's own agent, and
/// nothing that the site has refused.
pub fn may_have(account: &Account, agent: AgentId, sealed_to: AgentId, state: State) -> bool {
    account.agent == Some(agent) && sealed_to == agent && state == State::Ready
}

/// What an agent knows of its tries with the credential of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tries {
    /// The greatest generation it has seen.
    pub generation: i64,
    /// What became of the newest try with it.
    pub last: Tried,
}

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tried {
    /// There was none, or it worked, or somebody was seen to be signed in since.
    #[default]
    Fine,
    /// The password was sent, or perhaps sent, and it is not known what came of it.
    Unclear,
    /// The site did not take it.
    Refused,
}

/// Why a credential is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// An older one than one seen before.
    Old,
    /// The site has refused it.
    Refused,
    /// The newest try may have gone wrong; a second one could lock the account.
    Unclear,
}

impl Tries {
    /// Whether a credential of this generation may be typed into the site's form; with what to remember from then on,
    /// durably and before it is typed.
    pub fn begin(self, generation: i64) -> Result<Self, Withheld> {
        match (generation.cmp(&self.generation), self.last) {
            (std::cmp::Ordering::Less, _) => Err(Withheld::Old),
            (std::cmp::Ordering::Equal, Tried::Refused) => Err(Withheld::Refused),
            (std::cmp::Ordering::Equal, Tried::Unclear) => Err(Withheld::Unclear),
            _ => Ok(Self { generation, last: Tried::Unclear }),
        }
    }

    /// After the try.
    #[must_use]
    pub fn end(self, outcome: Use) -> Self {
        let last = match outcome {
            Use::Accepted => Tried::Fine,
            Use::Refused => Tried::Refused,
            Use::Unclear => Tried::Unclear,
        };
        Self { last, ..self }
    }

    /// Somebody is signed in: what was unclear did no harm. What the site refused stays refused.
    #[must_use]
    pub fn signed_in(self) -> Self {
        match self.last {
            Tried::Unclear => Self { last: Tried::Fine, ..self },
            Tried::Fine | Tried::Refused => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_is_never_tried_again() {
        let begun = Tries::default().begin(7).expect("new");
        assert_eq!(begun.begin(7), Err(Withheld::Unclear), "killed while it was typed");
        let refused = begun.end(Use::Refused);
        assert_eq!(refused.begin(7), Err(Withheld::Refused));
        assert_eq!(refused.signed_in().begin(7), Err(Withheld::Refused), "a person signed in by hand");
        let set_anew = refused.begin(8).expect("set anew").end(Use::Accepted);
        assert!(set_anew.begin(8).is_ok());
        assert_eq!(set_anew.begin(7), Err(Withheld::Old), "a database that was rolled back");
    }

    #[test]
    fn an_unclear_try_waits_until_somebody_is_signed_in() {
        let unclear = Tries::default().begin(7).expect("new").end(Use::Unclear);
        assert_eq!(unclear.begin(7), Err(Withheld::Unclear));
        assert!(unclear.signed_in().begin(7).is_ok());
        assert!(unclear.begin(8).is_ok());
    }
}
