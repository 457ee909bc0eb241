//! Chrome, profile lock and recipe session of one run, and their orderly end.

use std::sync::Arc;
use std::time::Duration;

use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::fence;
use tradepost_domain::posting::EvidenceRef;
use tradepost_recipe::page::Page;
use tradepost_recipe::session::Session;
use tradepost_recipe::values::{Input, Listing};

use super::chrome::Tab;
use super::watched::Watched;
use super::{Cut, Run};
use crate::journal::Record;
use crate::platform::files::{self, Lock};
use crate::platform::processes::{self, ProcessRef};
use crate::session::frame::Phase;

/// How long the processes of a closed Chrome may take to be gone.
const DEAD_WITHIN: Duration = Duration::from_secs(5);
/// Name of the step that starts Chrome.
const START: &str = "Start Chrome";

/// An open Chrome with its account's profile.
pub(super) struct Tools {
    tab: Box<dyn Tab>,
    processes: Vec<ProcessRef>,
    _profile: Lock,
}

/// A run at work: Chrome and the recipes' walk over its page.
pub(super) struct Desk {
    pub(super) session: Session,
    tools: Tools,
}

impl Run {
    /// Takes the account's profile and starts Chrome in it.
    pub(super) async fn start_chrome(&self) -> Result<Tools, Failure> {
        self.reporter.step(Phase::Start, START, self.start_tools()).await
    }

    async fn start_tools(&self) -> Result<Tools, Failure> {
        let failed = |message: String| Failure::new(FailureClass::BrowserCrashed, START, message);
        let profiles = self.kit.data.join("profiles");
        let profile = profiles.join(self.dispatch.account.id.to_string());
        files::private_dir(&profiles)
            .and_then(|()| files::private_dir(&profile))
            .map_err(|error| failed(format!("cannot use {}: {error}", profile.display())))?;
        let lock = files::lock(&profile.with_extension("lock"))
            .map_err(|error| failed(format!("the account's Chrome profile is in use: {error}")))?;
        let tab = self.kit.chrome.start(&profile).await?;
        let processes = tab.processes();
        let tools = Tools { tab, processes: processes.clone(), _profile: lock };
        if let Err(error) = self.kit.journal.append_async(Record::ProcessesStarted { processes }).await {
            tools.close(self).await;
            return Err(Failure::new(FailureClass::Internal, START, error.to_string()));
        }
        Ok(tools)
    }

    /// The recipes' walk for this run.
    pub(super) async fn sit_down(&self, tools: Tools, listing: Option<Listing>) -> Result<Desk, Failure> {
        let account = &self.dispatch.account;
        let input =
            Input { site_url: account.site_url.clone(), sign_in_name: account.sign_in_name.clone(), listing };
        let observer = Arc::clone(&self.reporter);
        let page = Watched::page(tools.tab.page(), Arc::clone(&self.guard));
        match Session::new(Arc::clone(&self.site), input, page, observer) {
            Ok(session) => Ok(Desk { session, tools }),
            Err(failure) => {
                tools.close(self).await;
                Err(failure)
            }
        }
    }
}

impl Tools {
    /// Closes Chrome and sees that it is dead; what is not stays in the journal, for the next start.
    pub(super) async fn close(self, run: &Run) -> fence::Chrome {
        self.tab.quit().await;
        let processes = self.processes;
        if let Err(error) = processes::end_all(&processes, DEAD_WITHIN).await {
            tracing::error!(%error, "Chrome is not gone");
            return fence::Chrome::PerhapsAlive;
        }
        if let Err(error) = run.kit.journal.append_async(Record::ProcessesEnded { processes }).await {
            tracing::error!(%error, "the end of Chrome is not journalled");
        }
        fence::Chrome::Dead
    }
}

impl Desk {
    /// The page, for looks that no recipe has.
    pub(super) fn page(&self) -> Arc<dyn Page> {
        self.tools.tab.page()
    }

    /// Does `work` on the session unless the run is asked to end, is late, or Chrome is lost.
    pub(super) async fn until_cut<T>(
        &mut self,
        run: &Run,
        step: &str,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Cut> {
        let Self { session, tools } = self;
        let watched = async {
            tokio::select! {
                done = work(session) => done,
                () = tools.tab.gone() => Err(crashed(step)),
            }
        };
        run.until_cut(step, watched).await
    }

    /// Does `work` on the session, which nothing interrupts but its own limit and the loss of Chrome.
    pub(super) async fn uninterrupted<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Session) -> T,
    ) -> Result<T, Failure> {
        let Self { session, tools } = self;
        tokio::select! {
            done = work(session) => Ok(done),
            () = tools.tab.gone() => Err(crashed("confirm")),
            () = tokio::time::sleep(limit) => {
                let message = format!("no answer of the browser within {} s", limit.as_secs());
                Err(Failure::new(FailureClass::TimedOut, "confirm", message))
            }
        }
    }

    /// Keeps what Chrome shows as evidence.
    pub(super) async fn keep_evidence(&self, run: &Run, name: &str) -> Vec<EvidenceRef> {
        let mut kept = Vec::new();
        for picture in self.tools.tab.pictures().await {
            let file = format!("{name}.{}", picture.extension);
            match run.kit.spool.keep(run.key(), &file, picture.media_type, &picture.content) {
                Ok(reference) => kept.extend(reference),
                Err(error) => tracing::warn!(%error, file, "evidence cannot be kept"),
            }
        }
        kept
    }

    /// Ends after `cut`: evidence for a failure, then Chrome.
    pub(super) async fn give_up(self, run: &Run, cut: &Cut) -> fence::Chrome {
        if let Cut::Failed(failure) = cut
            && !matches!(failure.class, FailureClass::BrowserCrashed | FailureClass::Cancelled)
        {
            self.keep_evidence(run, "failure").await;
        }
        self.leave(run).await
    }

    /// Closes Chrome and sees that it is dead.
    pub(super) async fn leave(self, run: &Run) -> fence::Chrome {
        // The session holds the page, and the page holds Chrome.
        let Self { session, tools } = self;
        drop(session);
        tools.close(run).await
    }
}

fn crashed(step: &str) -> Failure {
    Failure::new(
        FailureClass::BrowserCrashed,
        step,
        "Chrome or its driver ended unexpectedly; the run is tried again",
    )
}
