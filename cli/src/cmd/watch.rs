//! `tradepost postings watch` and `accounts login --watch`: the feed only wakes; what is shown comes from the posting or job and its steps as they stand, so
//! that a lost event or a restarted controller loses nothing.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tradepost_domain::failure::FailureClass;
use tradepost_domain::job;
use tradepost_domain::posting::State;

use super::postings::receipt_text;
use crate::args::Format;
use crate::client::{Client, Feed, Next};
use crate::error::{Exit, Result};
use crate::model::{FeedItem, Job, Posting, Receipt, Step};
use crate::output::live::{Progress, Standing, View};
use crate::output::{Output, Tone, text};

/// Shortest time between two looks: a burst of events is one look.
const PAUSE: Duration = Duration::from_millis(60);
/// How long an uncertain posting is watched for its automatic resolution.
const UNCERTAIN_WAIT: Duration = Duration::from_secs(120);
/// How long a controller may be away before watching ends.
const AWAY_MAX: Duration = Duration::from_secs(600);

/// What is watched.
#[derive(Debug)]
enum Subject {
    Posting(String),
    Job(String),
}

/// How it stands.
#[derive(Debug)]
enum Seen {
    /// With the receipt, once there is one.
    Posting(Box<Posting>, Option<Box<Receipt>>),
    Job(Box<Job>),
}

/// One watch.
#[derive(Debug)]
struct Watch<'a> {
    client: &'a Client,
    subject: Subject,
    /// The subject's own job first, then jobs that look for its listing.
    jobs: Vec<String>,
    progress: Progress,
    view: View,
}

/// Why watching ended.
#[derive(Debug)]
enum Ended {
    Settled(Seen),
    OutOfTime(Option<Seen>),
    Interrupted,
}

/// Follows a posting until it ends; the exit code tells how. What `told` holds is not told again.
pub(super) async fn watch(
    client: &Client,
    output: &Output,
    id: String,
    wait: Option<Duration>,
    told: &[(String, Vec<Step>)],
) -> Result<Exit> {
    let mut watch = Watch::new(client, output, Subject::Posting(id.clone()), Vec::new());
    watch.progress.skip(told);
    match watch.until_settled(wait).await? {
        Ended::Settled(Seen::Posting(posting, receipt)) => finish(output, &posting, receipt.as_deref()),
        Ended::OutOfTime(Some(Seen::Posting(posting, _))) if posting.state == State::Uncertain => {
            finish(output, &posting, None)
        }
        Ended::Interrupted => {
            output.message(&format!(
                "Stopped watching; the posting goes on. Look again with `tradepost postings watch {id}`, \
                 end it with `tradepost postings cancel {id}`."
            ));
            Ok(Exit::Interrupted)
        }
        Ended::OutOfTime(_) | Ended::Settled(Seen::Job(_)) => {
            output.message(&format!(
                "The posting is still under way: `tradepost postings watch {id}` looks again."
            ));
            Ok(Exit::StillUnderWay)
        }
    }
}

/// Follows a job without a posting until it ends; none when the person stopped watching.
pub(super) async fn watch_job(client: &Client, output: &Output, id: String) -> Result<Option<Job>> {
    let mut watch = Watch::new(client, output, Subject::Job(id.clone()), vec![id]);
    Ok(match watch.until_settled(None).await? {
        Ended::Settled(Seen::Job(job)) => Some(*job),
        _ => None,
    })
}

impl Seen {
    /// Whether nothing more happens by itself.
    fn is_settled(&self) -> bool {
        match self {
            Self::Posting(posting, _) => posting.state.is_settled(),
            Self::Job(job) => {
                job.state.is_terminal() || matches!(job.state, job::State::NeedsHuman | job::State::Uncertain)
            }
        }
    }

    fn is_uncertain(&self) -> bool {
        matches!(self, Self::Posting(posting, _) if posting.state == State::Uncertain)
    }
}

impl<'a> Watch<'a> {
    fn new(client: &'a Client, output: &Output, subject: Subject, jobs: Vec<String>) -> Self {
        Self { client, subject, jobs, progress: Progress::default(), view: View::new(output) }
    }

    async fn until_settled(&mut self, wait: Option<Duration>) -> Result<Ended> {
        let ended = tokio::select! {
            signal = tokio::signal::ctrl_c() => {
                signal.map(|()| Ended::Interrupted).map_err(crate::error::Error::from)
            }
            ended = self.follow(wait) => ended,
        };
        self.view.end();
        ended
    }

    async fn follow(&mut self, wait: Option<Duration>) -> Result<Ended> {
        let begun = Instant::now();
        let mut deadline = wait.map(|wait| begun + wait);
        let posting = match &self.subject {
            Subject::Posting(id) => id.clone(),
            Subject::Job(_) => String::new(),
        };
        let mut feed = Feed::new(self.client.clone(), posting, -1);
        let mut look_at: Option<Instant> = None;
        let mut open_at: Option<Instant> = None;
        let mut away_since: Option<Instant> = None;
        let mut newest: Option<Seen> = None;
        loop {
            tokio::select! {
                () = until(deadline) => return Ok(Ended::OutOfTime(newest)),
                () = until(open_at) => open_at = None,
                () = until(look_at) => {
                    look_at = None;
                    match self.look().await {
                        Ok(seen) => {
                            away_since = None;
                            if seen.is_settled() {
                                return Ok(Ended::Settled(seen));
                            }
                            if seen.is_uncertain() && wait.is_none() {
                                deadline.get_or_insert(Instant::now() + UNCERTAIN_WAIT);
                            }
                            newest = Some(seen);
                        }
                        // It went away after the feed was opened: the feed brings the next look.
                        Err(error) if error.exit == Exit::Unreachable => {
                            open_at = Some(self.away(&mut away_since, feed.break_off())?);
                        }
                        Err(error) => return Err(error),
                    }
                }
                next = feed.next(), if open_at.is_none() => match next? {
                    // It is back for certain when the look is answered.
                    Next::Opened => look_at = Some(Instant::now()),
                    Next::Item(item) => {
                        if self.concerns(item) {
                            look_at.get_or_insert(Instant::now() + PAUSE);
                        }
                    }
                    Next::Lost { delay } => {
                        look_at = None;
                        open_at = Some(self.away(&mut away_since, delay)?);
                    }
                },
            }
        }
    }

    /// When to try again with a controller that does not answer; an error once that has lasted too long.
    fn away(&mut self, since: &mut Option<Instant>, delay: Duration) -> Result<Instant> {
        let now = Instant::now();
        if now - *since.get_or_insert(now) > AWAY_MAX {
            return Err(crate::error::Error::new(
                Exit::Unreachable,
                "the controller has been away for 10 minutes; the work goes on when it is back",
            ));
        }
        self.view.lost();
        Ok(now + delay)
    }

    /// Whether the item may change what is shown. A posting's feed also tells of jobs that look for its listing.
    fn concerns(&mut self, item: FeedItem) -> bool {
        match (item, &self.subject) {
            (FeedItem::Quiet(_), _) => true,
            (FeedItem::Event(event), Subject::Job(id)) => event.job_id == *id,
            (FeedItem::Event(event), Subject::Posting(_)) => {
                if !event.job_id.is_empty() && !self.jobs.contains(&event.job_id) {
                    self.jobs.push(event.job_id);
                }
                true
            }
        }
    }

    /// Looks at the subject and its steps, and shows what is new.
    async fn look(&mut self) -> Result<Seen> {
        let seen = match &self.subject {
            Subject::Posting(id) => {
                let posting = self.client.get_posting(id.clone()).await?;
                if !self.jobs.contains(&posting.job_id) {
                    self.jobs.insert(0, posting.job_id.clone());
                }
                let receipt = match posting.state {
                    State::Published => self.client.find_receipt(id.clone()).await?,
                    _ => None,
                };
                Seen::Posting(Box::new(posting), receipt.map(Box::new))
            }
            Subject::Job(id) => Seen::Job(Box::new(self.client.get_job(id.clone()).await?)),
        };
        let mut steps: Vec<(String, Vec<Step>)> = Vec::new();
        for job in &self.jobs {
            steps.push((job.clone(), self.client.list_steps(job.clone()).await?));
        }
        let standing = match &seen {
            Seen::Posting(posting, _) => Standing {
                subject: "posting",
                state: posting.state.name(),
                waiting_for: posting.waiting_for.clone(),
                at: posting.updated_at,
                is_running: posting.state == State::Running,
            },
            Seen::Job(job) => Standing {
                subject: job.kind.name(),
                state: job.state.name(),
                waiting_for: String::new(),
                at: job.updated_at,
                is_running: job.state == job::State::Running,
            },
        };
        self.view.found();
        let news = self.progress.news(standing, &steps);
        self.view.show(&news)?;
        Ok(seen)
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Tells how the posting ended, and what to do next.
fn finish(output: &Output, posting: &Posting, receipt: Option<&Receipt>) -> Result<Exit> {
    match (output.format, receipt) {
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
    match receipt {
        Some(receipt) if !receipt.evidence.is_empty() => {
            output.hint(&format!("screenshots: tradepost jobs evidence {} --save DIR", posting.job_id));
        }
        Some(_) => {}
        None => hints(output, posting),
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
        output.hint(&format!("tradepost postings resolve {id} --published URL"));
        output.hint(&format!("tradepost postings resolve {id} --not-published"));
    };
    match (posting.state, class) {
        (State::Uncertain, _) => {
            output.hint("do not post it by hand now: a second listing could not be told from the first");
            output.hint(&format!("it is being found out: tradepost postings watch {id}"));
            output.hint(&format!("look for it at once: tradepost postings look {id} --watch"));
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
