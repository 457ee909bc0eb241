//! Having the account signed in.

use std::time::Duration;

use tradepost_domain::credential::Use;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::job::Kind;
use tradepost_recipe::page::PageError;
use tradepost_recipe::schema::Job;
use tradepost_recipe::session::SignedIn;
use tradepost_recipe::values::Credential;

use super::desk::Desk;
use super::{Cut, Run};
use crate::browser::Display;
use crate::credentials::sealed::NotUsed;
use crate::credentials::{self, Kept};
use crate::session::frame::{Ending, Phase};

/// Name of the step that looks who is signed in.
const CHECK: &str = "login_check";
/// How long one wait inside the page for the person lasts.
const PERSON_WAIT: Duration = Duration::from_secs(20);
/// A wait that is cut short by a change of pages is not repeated faster than this.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A login job: done when the account is signed in.
pub(super) async fn job(run: &Run) -> Result<Ending, Cut> {
    let tools = run.until_cut("start", run.start_chrome()).await?;
    let mut desk = run.sit_down(tools, None).await?;
    match sign_in_or_wait(run, &mut desk).await {
        Ok(_) => {
            desk.keep_evidence(run, "signed_in").await;
            desk.leave(run).await;
            Ok(Ending::Succeeded)
        }
        Err(cut) => {
            desk.give_up(run, &cut).await;
            Err(cut)
        }
    }
}

/// Sees that the right account is signed in; signs in where this PC has credentials and the site a recipe for it.
pub(super) async fn sign_in(run: &Run, desk: &mut Desk) -> Result<SignedIn, Cut> {
    let password = find_password(run).await;
    // Nobody signed in is no failure where a sign-in comes next: by the credential, or by the person at the window.
    let waits = run.dispatch.kind == Kind::Login && run.kit.chrome.display() != Display::Headless;
    run.reporter.login_follows(waits || matches!(password, Ok(Some(_))));
    let checked = desk.until_cut(run, CHECK, async |session| session.login_check().await).await;
    run.reporter.login_follows(false);
    let failure = match checked {
        Ok(signed_in) => {
            note(run.kit.sealed.no_harm_done(run.dispatch.account.id));
            return Ok(signed_in);
        }
        Err(Cut::Failed(failure)) if failure.class == FailureClass::NeedsLogin => failure,
        Err(cut) => return Err(cut),
    };
    let refused = |NotUsed(why)| Failure { message: why, ..failure.clone() };
    match password.map_err(refused)? {
        Some(password) => {
            if let Origin::Sealed(generation) = password.from {
                run.kit.sealed.begin(&run.dispatch.account, generation).map_err(refused)?;
            }
            type_password(run, desk, password).await
        }
        None => Err(Failure { message: what_to_do(run), ..failure }.into()),
    }
}

/// A password for this run, and where it comes from.
struct Password {
    credential: Credential,
    from: Origin,
}

enum Origin {
    /// Kept on this PC in the clear.
    ThisPc,
    /// Sealed by the seller, of this generation.
    Sealed(i64),
}

/// The credential that may be used, or why the one that is stored may not be.
async fn find_password(run: &Run) -> Result<Option<Password>, NotUsed> {
    let account = &run.dispatch.account;
    if run.site.recipe(Job::Login).is_none() {
        return Ok(None);
    }
    match run.kit.link.fetch_credential(run.key()).await {
        Ok(Some(handed)) => {
            let credential = run.kit.sealed.open_for(account, &run.site, &handed)?;
            return Ok(Some(Password { credential, from: Origin::Sealed(handed.generation) }));
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "the controller hands out no sealed credential"),
    }
    if !run.site.pack.practice {
        return Ok(None);
    }
    match run.kit.credentials.find(account.id) {
        Ok(Kept::Nothing) => Ok(None),
        Ok(Kept::Ready(credential)) => Ok(Some(Password { credential, from: Origin::ThisPc })),
        Ok(Kept::Refused) => Err(NotUsed(format!(
            "{} refused the stored password of this account, so it is not tried again; {}",
            run.site.pack.title,
            how_to_correct(run, &Origin::ThisPc)
        ))),
        Err(error) => Err(NotUsed(error.to_string())),
    }
}

/// Signs in, once. What comes of it is remembered before anything else is done.
async fn type_password(run: &Run, desk: &mut Desk, password: Password) -> Result<SignedIn, Cut> {
    let Password { credential, from } = password;
    let account = run.dispatch.account.id;
    // Until it is known, it may have been typed.
    let mut typed = true;
    let signed_in = desk.until_cut(run, "login", async |session| {
        session.login(&credential).await.map_err(|not_signed_in| {
            typed = not_signed_in.typed;
            not_signed_in.failure
        })
    });
    let signed_in = signed_in.await;
    drop(credential);
    let outcome = match &signed_in {
        Ok(_) => Use::Accepted,
        Err(Cut::Failed(failure)) if failure.class == FailureClass::NeedsLogin && typed => Use::Refused,
        Err(_) => Use::Unclear,
    };
    match from {
        Origin::Sealed(_) if !typed && signed_in.is_err() => note(run.kit.sealed.no_harm_done(account)),
        Origin::Sealed(generation) => {
            note(run.kit.sealed.end(account, outcome));
            let told = run.kit.link.report_credential_use(run.key(), generation, outcome).await;
            if let Err(error) = told {
                tracing::debug!(%error, "the controller does not hear what became of a sealed credential");
            }
        }
        Origin::ThisPc if outcome == Use::Refused => note(run.kit.credentials.refuse(account)),
        Origin::ThisPc => {}
    }
    signed_in.map_err(|cut| match cut {
        Cut::Failed(failure) if outcome == Use::Refused => {
            let message =
                format!("{}; it is not tried again; {}", failure.message, how_to_correct(run, &from));
            Failure { message, ..failure }.into()
        }
        cut => cut,
    })
}

fn note(noted: Result<(), credentials::Error>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "what became of a sign-in is not remembered");
    }
}

/// In plain words, for a seller.
fn what_to_do(run: &Run) -> String {
    let account = &run.dispatch.account;
    let site = &run.site.pack.title;
    let by_hand = format!(
        "run `tradepost accounts login {:?}` and sign in in the Chrome window that opens",
        account.name
    );
    if run.site.recipe(Job::Login).is_some() {
        format!(
            "nobody is signed in to {site}; {by_hand}, or let the agent do it: `tradepost accounts credentials set {:?}` seals the \
             password to it",
            account.name
        )
    } else {
        format!("nobody is signed in to {site}; {by_hand}")
    }
}

/// The mend for a password that the site does not take.
fn how_to_correct(run: &Run, from: &Origin) -> String {
    let account = &run.dispatch.account;
    let name = &account.name;
    let set = match from {
        Origin::Sealed(_) => format!("`tradepost accounts credentials set {name:?}`"),
        Origin::ThisPc => {
            let id = account.id;
            format!("`tradepost-agent credentials set --account {id} --username …` on the agent's PC")
        }
    };
    format!(
        "set the right one with {set}, or sign in by hand with `tradepost accounts login {name:?}`, then resume"
    )
}

async fn sign_in_or_wait(run: &Run, desk: &mut Desk) -> Result<SignedIn, Cut> {
    let failure = match sign_in(run, desk).await {
        Err(Cut::Failed(failure)) if needs_person(failure.class) => failure,
        done => return done,
    };
    if run.kit.chrome.display() == Display::Headless {
        let hint = "this agent runs without windows: start it without --headless to sign in by hand";
        return Err(Failure { message: format!("{}; {hint}", failure.message), ..failure }.into());
    }
    loop {
        wait_for_person(run, desk).await?;
        match desk.until_cut(run, CHECK, async |session| session.login_check().await).await {
            Err(Cut::Failed(failure)) if needs_person(failure.class) => {}
            done => {
                if done.is_ok() {
                    note(run.kit.sealed.no_harm_done(run.dispatch.account.id));
                }
                return done;
            }
        }
    }
}

fn needs_person(class: FailureClass) -> bool {
    matches!(
        class,
        FailureClass::NeedsLogin
            | FailureClass::NeedsSecondFactor
            | FailureClass::NeedsCaptcha
            | FailureClass::NeedsConsent
            | FailureClass::Checkpoint
            | FailureClass::WrongAccount
    )
}

/// Waits, without touching the page, until it shows that somebody is signed in.
async fn wait_for_person(run: &Run, desk: &mut Desk) -> Result<(), Cut> {
    let failed = |message: String| Failure::new(FailureClass::Internal, CHECK, message);
    let recipe = run.site.recipe(Job::LoginCheck);
    let rule = recipe.as_ref().and_then(|recipe| recipe.body.signed_in.as_ref());
    let rule =
        rule.ok_or_else(|| failed(String::from("the recipe does not say how a signed-in page looks")))?;
    let values = run.site.pack.values();
    let condition = rule.when.resolve(&values).map_err(|error| failed(error.to_string()))?;
    let page = desk.page();
    page.watch(Vec::new());
    let waiting = async {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            match page.wait(std::slice::from_ref(&condition), PERSON_WAIT).await {
                Ok(_) => return Ok(()),
                Err(PageError::Crashed(reason)) => {
                    return Err(Failure::new(FailureClass::BrowserCrashed, CHECK, reason));
                }
                // Not yet; or the page is being left for another one.
                Err(_) => {}
            }
        }
    };
    let step = run.reporter.step(Phase::Start, "Wait for you to sign in in the Chrome window", waiting);
    desk.until_cut(run, CHECK, async |_| step.await).await
}
