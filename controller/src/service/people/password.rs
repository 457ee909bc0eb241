//! Registration, and passwords.

use secrecy::{ExposeSecret, SecretString};
use tradepost_domain::audit::Target;
use tradepost_domain::field::Violations;
use tradepost_domain::id::UserId;
use tradepost_domain::throttle;
use tradepost_domain::user::{self, Email, SecondFactor, State};
use tradepost_store::{Bearer, Conflict, Error as StoreError, Guest, Membership, Registration, audit};

use super::session::session_of;
use super::{Peer, People, hash};
use crate::service::error::{Error, Reason, Result};

impl People {
    /// Asks for an account. Whether the address is known shows neither in the answer nor in the time it takes.
    pub async fn register(&self, email: &str, password: &str, peer: Peer) -> Result<()> {
        let registration = self.registration(email, password, State::Pending, peer, "register").await?;
        audit::about(Target::User, registration.id.0);
        match self.store.add_user(registration, self.now()).await {
            Err(StoreError::Conflict(Conflict::UserEmail)) => Ok(()),
            added => Ok(added.map(drop)?),
        }
    }

    /// Makes an account by an invitation.
    pub async fn accept_as_new(
        &self,
        invitation: &str,
        email: &str,
        password: &str,
        peer: Peer,
    ) -> Result<Membership> {
        self.count("strings", throttle::STRINGS, peer).await?;
        let hash = hash(invitation);
        let found = self.usable_invitation(hash, email).await?;
        let guest = Guest::New(self.registration(email, password, State::Active, peer, "accept").await?);
        match self.store.accept_invitation(hash, guest, self.now()).await {
            Err(StoreError::Stale) => Err(super::workspace::invitation_void()),
            Err(StoreError::Conflict(Conflict::UserEmail)) => {
                let message = "there is an account with this address: sign in, then accept the invitation";
                Err(Error::new(Reason::UserEmailTaken, message))
            }
            accepted => Ok(accepted.map(|()| Membership {
                workspace: found.workspace,
                name: found.workspace_name,
                role: found.role,
            })?),
        }
    }

    async fn registration(
        &self,
        email: &str,
        password: &str,
        state: State,
        peer: Peer,
        counted: &str,
    ) -> Result<Registration> {
        let _place = self.hashing.reserve()?;
        let mut violations = Violations::new();
        let address = violations.check("email", email.parse::<Email>());
        if let Some(address) = &address {
            check(&mut violations, "password", password, address, SecondFactor::Absent);
        }
        let email = violations.into_result(|| address)?;
        if counted == "register" {
            self.count(counted, throttle::REGISTER, peer).await?;
        }
        Ok(Registration {
            id: UserId(self.core.id()),
            email: email.to_string(),
            password_hash: self.hashing.hash(password).await?,
            state,
        })
    }

    /// Changes the caller's own password; their other sessions end.
    pub async fn change_password(
        &self,
        bearer: &Bearer,
        password: &str,
        new: &str,
        peer: Peer,
    ) -> Result<()> {
        let session = session_of(bearer)?;
        let before = self.check_own_password(bearer, password, peer).await?;
        let email = bearer.email.parse().map_err(Error::internal)?;
        check_new(new, &email, factor(bearer.second_factor))?;
        let after = self.hashing.hash(new).await?;
        audit::about(Target::User, bearer.user.0);
        self.store.change_password(bearer.user, Some(before), after, Some(session), self.now()).await?;
        self.look_again();
        Ok(())
    }

    /// Sets a password by an operator's string.
    pub async fn reset_password(&self, reset: &str, new: &str, peer: Peer) -> Result<()> {
        let _place = self.hashing.reserve()?;
        self.count("strings", throttle::STRINGS, peer).await?;
        let void = || {
            let message =
                "the string is wrong, used, or its time has passed; ask an operator for another one";
            Error::new(Reason::ResetInvalid, message)
        };
        let hash = hash(reset);
        let user = self.store.find_password_reset(hash, self.now()).await?.ok_or_else(void)?;
        let email = user.email.parse().map_err(Error::internal)?;
        check_new(new, &email, factor(user.second_factor))?;
        let password_hash = self.hashing.hash(new).await?;
        audit::about(Target::User, user.id.0);
        match self.store.redeem_password_reset(hash, password_hash, self.now()).await {
            Err(StoreError::Stale) => Err(void()),
            redeemed => {
                redeemed?;
                self.look_again();
                Ok(())
            }
        }
    }

    /// Whether a password would do for the user of that address.
    pub fn check_password_on_host(&self, email: &str, new: &SecretString) -> Result<()> {
        let address: Email =
            email.parse().map_err(|error: user::InvalidEmail| Error::field("email", error.to_string()))?;
        check_new(new.expose_secret(), &address, SecondFactor::Absent)
    }

    /// Sets the password of the user of that address, on the controller's host.
    pub async fn set_password_on_host(&self, email: &str, new: &SecretString) -> Result<()> {
        let new = new.expose_secret();
        let address: Email =
            email.parse().map_err(|error: user::InvalidEmail| Error::field("email", error.to_string()))?;
        let known = self.store.find_credentials(address.as_str()).await?;
        let known = known.ok_or_else(|| super::session::missing(Reason::UserNotFound, "user", &address))?;
        check_new(new, &address, factor(known.user.second_factor))?;
        let after = self.hashing.hash(new).await?;
        audit::about(Target::User, known.user.id.0);
        Ok(self.store.change_password(known.user.id, known.password_hash, after, None, self.now()).await?)
    }
}

fn factor(present: bool) -> SecondFactor {
    if present { SecondFactor::Present } else { SecondFactor::Absent }
}

fn check_new(new: &str, email: &Email, factor: SecondFactor) -> Result<()> {
    let mut violations = Violations::new();
    check(&mut violations, "new_password", new, email, factor);
    Ok(violations.into_result(|| Some(()))?)
}

/// The rules, with zxcvbn's estimate. It looks at the first hundred characters only, and its time grows with their number.
fn check(violations: &mut Violations, field: &str, password: &str, email: &Email, factor: SecondFactor) {
    let known: Vec<&str> = email.as_str().split(['@', '.']).chain(["tradepost", email.as_str()]).collect();
    let beginning: String = password.chars().take(100).collect();
    let estimate = zxcvbn::zxcvbn(&beginning, &known);
    let advice = estimate.feedback().and_then(|feedback| {
        let warning = feedback.warning().map(|warning| warning.to_string());
        warning.or_else(|| feedback.suggestions().first().map(ToString::to_string))
    });
    let strength = (u8::from(estimate.score()), advice.as_deref());
    user::check_password(violations, field, password, email, factor, strength);
}
