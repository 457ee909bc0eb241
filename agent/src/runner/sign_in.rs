//! Having the account signed in.

use std::time::Duration;

use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::job::Kind;
use tradepost_recipe::page::PageError;
use tradepost_recipe::schema::Job;
use tradepost_recipe::session::SignedIn;

use super::desk::Desk;
use super::{Cut, Run};
use crate::browser::Display;
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
    let account = &run.dispatch.account;
    let credential = match run.site.recipe(Job::Login) {
        Some(_) => run.kit.credentials.find(account.id),
        None => Ok(None),
    };
    // Nobody signed in is no failure where a sign-in comes next: by the credential, or by the person at the window.
    let waits = run.dispatch.kind == Kind::Login && run.kit.chrome.display() != Display::Headless;
    run.reporter.login_follows(waits || matches!(credential, Ok(Some(_))));
    let checked = desk.until_cut(run, CHECK, async |session| session.login_check().await).await;
    run.reporter.login_follows(false);
    let failure = match checked {
        Ok(signed_in) => return Ok(signed_in),
        Err(Cut::Failed(failure)) if failure.class == FailureClass::NeedsLogin => failure,
        Err(cut) => return Err(cut),
    };
    let credential =
        credential.map_err(|error| Failure::new(FailureClass::NeedsLogin, CHECK, error.to_string()))?;
    match credential {
        Some(credential) => {
            let signed_in =
                desk.until_cut(run, "login", async |session| session.login(&credential).await).await;
            signed_in.map_err(|cut| match cut {
                Cut::Failed(failure) if failure.class == FailureClass::NeedsLogin => {
                    let message = format!("{}; {}", failure.message, how_to_correct(run));
                    Failure { message, ..failure }.into()
                }
                cut => cut,
            })
        }
        None => Err(Failure { message: what_to_do(run), ..failure }.into()),
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
            "nobody is signed in to {site}; {by_hand}, or store the password on the agent's PC with \
             `tradepost-agent credentials set --account {} --username …`",
            account.id
        )
    } else {
        format!("nobody is signed in to {site}; {by_hand}")
    }
}

/// The mend for a password that the site does not take.
fn how_to_correct(run: &Run) -> String {
    let account = &run.dispatch.account;
    format!(
        "correct it with `tradepost-agent credentials set --account {} --username …` on the agent's PC, or sign in by \
         hand with `tradepost accounts login {:?}`, then resume",
        account.id, account.name
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
            done => return done,
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
