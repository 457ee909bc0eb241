//! Signing in with a stored password, and seeing at once that the site does not take it.

use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::{Instant, MissedTickBehavior};
use tradepost_domain::failure::{Failure, FailureClass};

use super::steps::left;
use super::{NotSignedIn, Phase, Session, SignedIn};
use crate::locate::{Condition, Target};
use crate::page::{FormError, PageError};
use crate::schema::{Advance, Fill, Job};
use crate::values::Credential;

/// How often the form is asked for its complaint while the next page is awaited.
const ASK_EVERY: Duration = Duration::from_millis(400);

impl Session {
    /// Signs in with a credential, on the account's own site alone. Fails with `needs_login` as soon as the site refuses
    /// it, with what the site shows in place of the next page (a challenge, a code, a consent: a person's), and says
    /// whether the site may have seen the password.
    pub async fn login(&mut self, credential: &Credential) -> Result<SignedIn, NotSignedIn> {
        self.typed_secret = false;
        let signed_in = self.log_in(credential).await;
        signed_in.map_err(|failure| NotSignedIn { failure, typed: self.typed_secret })
    }

    async fn log_in(&mut self, credential: &Credential) -> Result<SignedIn, Failure> {
        let recipe = self.recipe(Job::Login)?;
        self.values.set("credential.username", credential.username.expose_secret());
        self.values.set("credential.password", credential.password.expose_secret());
        self.signing_in = true;
        let signed_in = async {
            self.watch(&[FailureClass::NeedsLogin])?;
            self.run_steps(Phase::Login, &recipe.body.steps, recipe.body.steps.len() + 1).await?;
            self.who_is_signed_in(Phase::Login, &recipe).await
        }
        .await;
        self.signing_in = false;
        self.values.forget("credential.");
        self.open_fields.clear();
        match signed_in {
            Err(failure) if failure.class == FailureClass::PageUnknown && self.asks_to_sign_in().await => {
                Err(self.password_refused(&failure.step, "it shows its sign-in form again"))
            }
            signed_in => signed_in,
        }
    }

    /// Types one field of a credential, key by key as a person does, if the page is still on the account's site. Nothing
    /// of it is read back.
    pub(super) async fn type_secret(
        &mut self,
        step: &str,
        fill: &Fill,
        target: &Target,
        value: &str,
        until: Instant,
    ) -> Result<String, Failure> {
        self.on_own_site(step).await?;
        let typed = self.page.type_keys(target, value, left(until)).await;
        // Where the field was not found, nothing was typed; everything else leaves it open.
        let untouched = matches!(
            typed,
            Err(PageError::Missing { .. } | PageError::Ambiguous { .. } | PageError::Disabled { .. })
        );
        self.typed_secret |= !untouched && self.values.first("credential.password") == Some(value);
        typed.map(|_| String::new()).map_err(|error| self.failure(step, Some(&fill.field), error))
    }

    /// A page that led elsewhere gets no password.
    async fn on_own_site(&self, step: &str) -> Result<(), Failure> {
        let anywhere = Condition { url: Some(String::from("^")), ..Condition::default() };
        let seen = self.page.wait(&[anywhere], Duration::ZERO).await;
        let seen = seen.map_err(|error| self.failure(step, None, error))?;
        let site = self.input.site_url.origin();
        if url::Url::parse(&seen.url).is_ok_and(|url| url.origin() == site) {
            return Ok(());
        }
        let title = &self.site.pack.title;
        let message = format!(
            "the sign-in form of {title} leads away from {}; nothing was typed there: sign in by yourself",
            site.ascii_serialization()
        );
        Err(Failure::new(FailureClass::Checkpoint, step, message))
    }

    /// Waits for what comes after a sign-in form. A complaint that was not there `before` ends the wait.
    pub(super) async fn expect_signed_in(
        &self,
        step: &str,
        advance: &Advance,
        condition: &Condition,
        before: &[FormError],
        until: Instant,
    ) -> Result<(), Failure> {
        let awaited = [self.resolve_condition(step, condition)?];
        let mut looks = tokio::time::interval(ASK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = false;
        loop {
            looks.tick().await;
            let error = match self.page.wait(&awaited, left(until).min(ASK_EVERY)).await {
                Ok(_) => return Ok(()),
                Err(
                    error @ (PageError::Interrupted { .. } | PageError::Network(_) | PageError::Crashed(_)),
                ) => return Err(self.failure(step, None, error)),
                // Not yet; or the page is being left for another one.
                Err(error) => error,
            };
            let mut errors = self.form_errors(step, advance.errors.as_ref()).await;
            errors.retain(|error| !before.contains(error));
            // What is said of one field may be the emptied form's own check, before the site's words are there.
            let told = errors.iter().any(|error| error.label.is_empty()) || complained;
            complained = !errors.is_empty();
            if let Some(refusal) = self.complaint(step, &errors).filter(|_| told) {
                return Err(refusal);
            }
            if left(until).is_zero() {
                return Err(self.failure(step, None, error));
            }
        }
    }

    /// The failure for a form that complains while a stored password is put in.
    pub(super) fn sign_in_complaint(&self, step: &str, errors: &[FormError]) -> Failure {
        // An emptied form complains about its fields, too: the site's own words say more.
        let general = errors.iter().any(|error| error.label.is_empty());
        let words: Vec<String> = errors
            .iter()
            .filter(|error| !general || error.label.is_empty())
            .map(|error| match error.label.as_str() {
                "" => error.text.clone(),
                label => format!("{label}: {}", error.text),
            })
            .collect();
        self.password_refused(step, &words.join(" · "))
    }

    fn password_refused(&self, step: &str, words: &str) -> Failure {
        let title = &self.site.pack.title;
        let message = format!("{title} does not accept the stored password of this account ({words})");
        Failure::new(FailureClass::NeedsLogin, step, message)
    }

    /// Whether the page is one on which nobody is signed in.
    async fn asks_to_sign_in(&self) -> bool {
        let interruptions = self.site.pack.interruptions.iter();
        let conditions: Result<Vec<Condition>, _> = interruptions
            .filter(|interruption| interruption.class == FailureClass::NeedsLogin)
            .map(|interruption| interruption.when.resolve(&self.values))
            .collect();
        match conditions {
            Ok(conditions) if !conditions.is_empty() => {
                self.page.wait(&conditions, Duration::ZERO).await.is_ok()
            }
            _ => false,
        }
    }
}
