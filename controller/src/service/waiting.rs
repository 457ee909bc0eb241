//! What a posting waits for, in words that follow "waits for".

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use tradepost_domain::agent::{Agent, Presence};
use tradepost_domain::id::{AgentId, PostingId};
use tradepost_domain::job::{self, Job};
use tradepost_domain::posting::{Posting, State};
use tradepost_domain::publish;
use tradepost_domain::retry::MAX_ATTEMPTS;
use tradepost_domain::time::Timestamp;
use tradepost_store::{PageRequest, PostingFilter};

use super::core::Core;
use super::error::Result;

impl Core {
    /// The postings with what each waits for; empty when it does not wait.
    pub async fn waiting_for(&self, postings: Vec<Posting>) -> Result<Vec<(Posting, String)>> {
        let mut agents: HashMap<AgentId, Option<Agent>> = HashMap::new();
        let mut answered = Vec::with_capacity(postings.len());
        for posting in postings {
            let sentence = match posting.state {
                State::Published | State::Failed | State::Cancelled => String::new(),
                _ => self.sentence(&posting, &mut agents).await?,
            };
            answered.push((posting, sentence));
        }
        Ok(answered)
    }

    async fn sentence(
        &self,
        posting: &Posting,
        agents: &mut HashMap<AgentId, Option<Agent>>,
    ) -> Result<String> {
        let Some(publication) = self.store.find_publication(posting.workspace, posting.id).await? else {
            return Ok(String::new());
        };
        let now = self.now();
        let job = &publication.job;
        let agent = match agents.entry(job.agent) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(self.store.find_agent(job.agent).await?),
        };
        let agent = agent.as_ref();
        Ok(match posting.state {
            State::Uncertain if publication.intent.state == publish::State::Armed => {
                String::from("the agent's report of what became of the click; do not post it by hand")
            }
            State::Uncertain => {
                let next = self.next_look(&publication).await?;
                uncertain(agent, next, now)
            }
            State::NeedsHuman => person(posting),
            State::Running if job.cancel_requested => String::from("the agent to end the run"),
            State::Queued => match self.unsettled(posting).await? {
                Some(other) => format!(
                    "the posting {other} of this account to be settled: its click may have been sent, and looking tells \
                     what became of it"
                ),
                None => queued(job, agent, now),
            },
            State::Running | State::Published | State::Failed | State::Cancelled => String::new(),
        })
    }
}

impl Core {
    /// A posting of the same account whose click's fate is open: until it is known, nothing else is published there.
    async fn unsettled(&self, posting: &Posting) -> Result<Option<PostingId>> {
        let filter = PostingFilter { state: Some(State::Uncertain), account: Some(posting.account) };
        let page = PageRequest { limit: 1, after: None };
        let found = self.store.list_postings(posting.workspace, filter, page).await?;
        Ok(found.rows.first().map(|unsettled| unsettled.id))
    }
}

fn uncertain(agent: Option<&Agent>, next: Option<Timestamp>, now: Timestamp) -> String {
    let look = match (absent(agent, now), next) {
        (Some(absent), _) => format!("{absent}, then the next look"),
        (None, Some(at)) if at > now => format!("the next look in {}", words(at.since(now))),
        (None, _) => String::from("the next look, now"),
    };
    format!("{look}: it tells whether the listing is on the site; do not post it by hand")
}

fn person(posting: &Posting) -> String {
    let what = posting.failure.as_ref().map_or("a decision is needed", |failure| failure.message.as_str());
    format!("a person: {}; then retry or resolve the posting", what.trim_end_matches('.'))
}

fn queued(job: &Job, agent: Option<&Agent>, now: Timestamp) -> String {
    if let Some(absent) = absent(agent, now) {
        return absent;
    }
    let name = agent.map_or("", |agent| agent.name.as_str());
    if job.state == job::State::Parked {
        return format!("the agent {name:?} to take the work up again");
    }
    if job.run_after > now {
        let when = words(job.run_after.since(now));
        return match &job.failure {
            Some(failure) => {
                let next = job.attempt + 1;
                format!("the next try in {when} ({next} of {MAX_ATTEMPTS}), after: {}", failure.message)
            }
            None => format!("its time, in {when}"),
        };
    }
    format!("its turn on the agent {name:?}")
}

/// What must happen before the agent can do anything; none when it is there.
fn absent(agent: Option<&Agent>, now: Timestamp) -> Option<String> {
    let Some(agent) = agent else { return Some(String::from("the account to be bound to an agent again")) };
    match agent.presence(now) {
        Presence::Online => None,
        Presence::Offline => Some(format!("the agent {:?} to come online", agent.name)),
        Presence::NeedsApproval => {
            Some(format!("the agent {:?} to be approved (`tradepost agents approve`)", agent.name))
        }
        Presence::Revoked => {
            Some(format!("the account to be bound to another agent, as {:?} is revoked", agent.name))
        }
    }
}

fn words(delay: Duration) -> String {
    humantime::format_duration(Duration::from_secs(delay.as_secs().max(1))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_told_in_whole_seconds() {
        assert_eq!(words(Duration::from_millis(90_500)), "1m 30s");
        assert_eq!(words(Duration::from_millis(3)), "1s");
    }
}
