//! `tradepost postings watch`: the feed only wakes; what is shown comes from the posting and its steps as they stand, so
//! that a lost event or a restarted controller loses nothing.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tradepost_domain::failure::FailureClass;
use tradepost_domain::posting::State;

use super::postings::receipt_text;
use crate::args::Format;
use crate::client::{Client, Feed, Next};
use crate::error::{Exit, Result};
use crate::model::{FeedItem, Posting, Step};
use crate::output::live::{Progress, View};
use crate::output::{Output, Tone, text};

/// Shortest time between two looks: a burst of events is one look.
const PAUSE: Duration = Duration::from_millis(60);
/// How long an uncertain posting is watched for its automatic resolution.
const UNCERTAIN_WAIT: Duration = Duration::from_secs(120);
/// How long a controller may be away before watching ends.
const AWAY_MAX: Duration = Duration::from_secs(600);

/// One watch.
#[derive(Debug)]
struct Watch<'a> {
    client: &'a Client,
    posting_id: String,
    /// The posting's own job first, then jobs that look for its listing.
    jobs: Vec<String>,
    progress: Progress,
    view: View,
}

/// Follows a posting until it ends; the exit code tells how.
pub(super) async fn watch(
    client: &Client,
    output: &Output,
    id: String,
    wait: Option<Duration>,
) -> Result<Exit> {
    let view = View::new(output);
    let mut watch =
        Watch { client, posting_id: id.clone(), jobs: Vec::new(), progress: Progress::default(), view };
    let ended = tokio::select! {
        signal = tokio::signal::ctrl_c() => signal.map(|()| Ended::Interrupted).map_err(crate::error::Error::from),
        ended = watch.follow(wait) => ended,
    };
    watch.view.end();
    match ended? {
        Ended::Interrupted => {
            output.message(&format!(
                "Stopped watching; the posting goes on. Look again with `tradepost postings watch {id}`, \
                 end it with `tradepost postings cancel {id}`."
            ));
            Ok(Exit::Interrupted)
        }
        Ended::OutOfTime(Some(posting))
            if posting.state.is_settled() || posting.state == State::Uncertain =>
        {
            finish(client, output, &posting).await
        }
        Ended::OutOfTime(_) => {
            output.message(&format!(
                "The posting is still under way: `tradepost postings watch {id}` looks again."
            ));
            Ok(Exit::StillUnderWay)
        }
        Ended::Settled(posting) => finish(client, output, &posting).await,
    }
}

/// Why watching ended.
#[derive(Debug)]
enum Ended {
    Settled(Posting),
    OutOfTime(Option<Posting>),
    Interrupted,
}

impl Watch<'_> {
    async fn follow(&mut self, wait: Option<Duration>) -> Result<Ended> {
        let begun = Instant::now();
        let mut deadline = wait.map(|wait| begun + wait);
        let mut feed = Feed::new(self.client.clone(), self.posting_id.clone(), -1);
        let mut look_at: Option<Instant> = None;
        let mut open_at: Option<Instant> = None;
        let mut away_since: Option<Instant> = None;
        let mut newest: Option<Posting> = None;
        loop {
            tokio::select! {
                () = until(deadline) => return Ok(Ended::OutOfTime(newest)),
                () = until(open_at) => open_at = None,
                () = until(look_at) => {
                    look_at = None;
                    let posting = self.look().await?;
                    if posting.state.is_settled() {
                        return Ok(Ended::Settled(posting));
                    }
                    if posting.state == State::Uncertain && wait.is_none() {
                        deadline.get_or_insert(Instant::now() + UNCERTAIN_WAIT);
                    }
                    newest = Some(posting);
                }
                next = feed.next(), if open_at.is_none() => match next? {
                    Next::Opened => {
                        away_since = None;
                        self.view.found();
                        look_at = Some(Instant::now());
                    }
                    Next::Item(item) => {
                        if let FeedItem::Event(event) = item
                            && !event.job_id.is_empty()
                            && !self.jobs.contains(&event.job_id)
                        {
                            self.jobs.push(event.job_id);
                        }
                        look_at.get_or_insert(Instant::now() + PAUSE);
                    }
                    Next::Lost { delay } => {
                        if away_since.get_or_insert_with(Instant::now).elapsed() > AWAY_MAX {
                            return Err(crate::error::Error::new(
                                Exit::Unreachable,
                                "the controller has been away for 10 minutes; the posting goes on when it is back",
                            ));
                        }
                        self.view.lost();
                        look_at = None;
                        open_at = Some(Instant::now() + delay);
                    }
                },
            }
        }
    }

    /// Looks at the posting and its steps, and shows what is new. A controller that is away is the feed's matter.
    async fn look(&mut self) -> Result<Posting> {
        let posting = self.client.get_posting(self.posting_id.clone()).await?;
        if !self.jobs.contains(&posting.job_id) {
            self.jobs.insert(0, posting.job_id.clone());
        }
        let mut steps: Vec<(String, Vec<Step>)> = Vec::new();
        for job in &self.jobs {
            steps.push((job.clone(), self.client.list_steps(job.clone()).await?));
        }
        let news = self.progress.news(&posting, &steps);
        self.view.show(&news)?;
        Ok(posting)
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Tells how the posting ended, and what to do next.
async fn finish(client: &Client, output: &Output, posting: &Posting) -> Result<Exit> {
    let receipt = match posting.state {
        State::Published => client.find_receipt(posting.id.clone()).await?,
        _ => None,
    };
    match (output.format, &receipt) {
        (Format::Table, Some(receipt)) => {
            output.message(&output.message_tone("✓ Published", Tone::Good));
            output.one(receipt, &posting.id, || receipt_text(output, posting, receipt))?;
        }
        (Format::Table, None) => tell(output, posting),
        (Format::Json | Format::Jsonl, _) => {
            let result = json!({ "posting": posting, "receipt": receipt });
            output.one(&result, &posting.id, String::new)?;
        }
    }
    if receipt.is_some() {
        output.hint(&format!("screenshots: tradepost jobs evidence {} --save DIR", posting.job_id));
    } else {
        hints(output, posting);
    }
    Ok(match posting.state {
        State::Published => Exit::Ok,
        State::Failed => Exit::PostingFailed,
        State::NeedsHuman => Exit::PostingNeedsHuman,
        State::Uncertain => Exit::PostingUncertain,
        State::Cancelled => Exit::PostingCancelled,
        State::Queued | State::Running => Exit::StillUnderWay,
    })
}

fn tell(output: &Output, posting: &Posting) {
    let (word, tone) = match posting.state {
        State::Failed => ("✗ Failed", Tone::Bad),
        State::NeedsHuman => ("! A person is needed", Tone::Warning),
        State::Uncertain => ("? Uncertain", Tone::Warning),
        State::Published => ("✓ Published", Tone::Good),
        State::Queued | State::Running | State::Cancelled => ("– Cancelled", Tone::Faint),
    };
    let why =
        posting.failure.as_ref().map(|failure| format!(": {}", text::failure(failure))).unwrap_or_default();
    output.say(&format!("{}{why}", output.message_tone(word, tone)));
}

fn hints(output: &Output, posting: &Posting) {
    let id = &posting.id;
    let class = posting.failure.as_ref().and_then(|failure| FailureClass::from_name(&failure.class));
    let resolve = || {
        output.hint("look on the site whether the listing is there, then say so:");
        output.hint(&format!("tradepost postings resolve {id} --published ITEM_ID --url URL"));
        output.hint(&format!("tradepost postings resolve {id} --not-published"));
    };
    match (posting.state, class) {
        (State::Uncertain, _) => {
            output.hint(&format!("it is being found out: tradepost postings watch {id}"));
            resolve();
        }
        (State::NeedsHuman, Some(FailureClass::Uncertain)) => resolve(),
        (State::NeedsHuman, Some(FailureClass::NeedsLogin | FailureClass::WrongAccount)) => {
            output.hint(&format!("sign in: tradepost accounts login {}", posting.account_id));
            output.hint(&format!("then: tradepost postings retry {id} --watch"));
        }
        (State::NeedsHuman | State::Failed, _) => {
            output
                .hint(&format!("what it looked like: tradepost jobs evidence {} --save DIR", posting.job_id));
            output.hint(&format!("when the cause is mended: tradepost postings retry {id} --watch"));
        }
        _ => {}
    }
}
