//! What can happen, and when: the matrix that cases are drawn from.

use std::fmt;
use std::time::Duration;

use tradepost_runtime::ids::Ids;

use crate::sites::Kind;

/// The database under the controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Database {
    /// One controller on SQLite.
    Sqlite,
    /// Two controllers on a PostgreSQL of their own.
    Postgres,
}

/// Where in the life of a posting the fault strikes. Each is reached exactly, see [`super::act`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// The posting was stored; the answer to whoever asked for it was not delivered.
    Asked,
    /// A controller has claimed the job; nothing of it was delivered to the agent.
    Dispatched,
    /// The agent has journalled the run; Chrome is not started.
    Started,
    /// Chrome runs for the run.
    Preparing,
    /// A photo is on its way to the site.
    Uploading,
    /// The form is filled and saved; the request for the permit is journalled, not sent.
    Prepared,
    /// The permit was given; its answer was not delivered.
    Requested,
    /// The permit is journalled.
    Permitted,
    /// The click is journalled, and not sent.
    WillClick,
    /// The click's request has reached the site, which has not carried it out.
    Arriving,
    /// The site has the listing; its answer has not come.
    Clicked,
    /// The click's answer is journalled; its effect is not known yet.
    Noted,
    /// The outcome is journalled, not told.
    Outcome,
    /// The controller has stored the outcome; the run has not ended.
    Settled,
    /// The run's end is journalled, not told.
    Ended,
    /// Chrome runs for a look, after the agent was killed behind its click.
    Looking,
}

/// How long a fault lasts that passes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Span {
    /// Shorter than every limit.
    Short,
    /// Longer than lease, parking and the life of a permit.
    Long,
    /// Longer than any step of a run may take.
    Minutes,
}

/// Who is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Victim {
    /// The agent.
    Agent,
    /// The controller that serves the agent.
    Controller,
    /// Chrome's main process.
    Chrome,
    /// chromedriver.
    Driver,
    /// Every process of PostgreSQL.
    Postgres,
}

/// Which connections are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Link {
    /// Between agent and controllers.
    Agents,
    /// Between the command line and controllers.
    People,
    /// Between controllers and PostgreSQL.
    Database,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL, and a start anew where it does not come by itself.
    Kill(Victim),
    /// SIGSTOP, and SIGCONT after a while.
    Stop(Victim, Span),
    /// No connection for a while.
    Cut(Link, Span),
}

/// What the site does to the click of the same posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing.
    None,
    /// It carries the click out and cuts the connection.
    LostReply,
    /// It carries the click out and answers with an error.
    ErrorAfter,
    /// It answers with an error and does nothing.
    ErrorBefore,
    /// It shows the listing some seconds later.
    Delayed,
    /// It reviews the listing first.
    Review,
    /// Everything takes longer.
    Latency,
    /// It forgets who is signed in.
    Logout,
}

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Its number among those of the seed.
    pub number: usize,
    /// Where it is posted.
    pub site: Kind,
    /// The database.
    pub database: Database,
    /// When.
    pub point: Point,
    /// What.
    pub fault: Fault,
    /// What else.
    pub trouble: Trouble,
}

const SITES: [Kind; 2] = [Kind::Sandbox, Kind::Classified];
const DATABASES: [Database; 2] = [Database::Sqlite, Database::Postgres];
const SPANS: [Span; 2] = [Span::Short, Span::Long];

/// Every case of a seed, in its order: the whole matrix, shuffled, each with a trouble of the site or none.
pub fn draw(seed: u64) -> Vec<Case> {
    let ids = Ids::seeded(seed);
    let mut all = matrix();
    for last in (1..all.len()).rev() {
        all.swap(last, below(&ids, last + 1));
    }
    let number = |(number, (site, database, point, fault))| {
        let trouble = trouble(&ids, site, point);
        Case { number, site, database, point, fault, trouble }
    };
    all.into_iter().enumerate().map(number).collect()
}

fn below(ids: &Ids, bound: usize) -> usize {
    let mut bytes = [0_u8; 8];
    ids.fill(&mut bytes);
    usize::try_from(u64::from_le_bytes(bytes) % (bound as u64)).unwrap_or(0)
}

fn matrix() -> Vec<(Kind, Database, Point, Fault)> {
    let mut all = Vec::new();
    for site in SITES {
        for database in DATABASES {
            for point in Point::ALL {
                for fault in faults() {
                    if makes_sense(site, database, point, fault) {
                        all.push((site, database, point, fault));
                    }
                }
            }
        }
    }
    all
}

fn faults() -> Vec<Fault> {
    use Victim::{Agent, Chrome, Controller, Driver, Postgres};
    let victims = [Agent, Controller, Chrome, Driver, Postgres];
    let mut all: Vec<Fault> = victims.into_iter().map(Fault::Kill).collect();
    for span in SPANS {
        all.extend(victims.into_iter().map(|victim| Fault::Stop(victim, span)));
        all.extend([Link::Agents, Link::People, Link::Database].map(|link| Fault::Cut(link, span)));
    }
    all.push(Fault::Stop(Chrome, Span::Minutes));
    all
}

fn makes_sense(site: Kind, database: Database, point: Point, fault: Fault) -> bool {
    use Victim::{Chrome, Controller, Driver, Postgres};
    let server =
        matches!(fault, Fault::Kill(Postgres) | Fault::Stop(Postgres, _) | Fault::Cut(Link::Database, _));
    let browser = matches!(fault, Fault::Kill(Chrome | Driver) | Fault::Stop(Chrome | Driver, _));
    if server && database == Database::Sqlite || browser && !point.has_chrome() {
        return false;
    }
    match point {
        // Nothing else stands between a person and the database.
        Point::Asked => {
            server
                || matches!(
                    fault,
                    Fault::Kill(Controller) | Fault::Stop(Controller, _) | Fault::Cut(Link::People, _)
                )
        }
        // The classifieds site takes its photos with the form.
        Point::Uploading if site == Kind::Classified => false,
        // People ask for nothing in between.
        _ => !matches!(fault, Fault::Cut(Link::People, _)),
    }
}

fn trouble(ids: &Ids, site: Kind, point: Point) -> Trouble {
    let chance = ids.unit();
    let choice = below(ids, 16);
    // Behind a click that went well, and for a form that never comes that far, the site has nothing to add.
    if chance < 0.5 || point == Point::Looking {
        return Trouble::None;
    }
    let of_both = [Trouble::LostReply, Trouble::ErrorBefore, Trouble::Latency, Trouble::Logout];
    let of_sandbox = [
        Trouble::LostReply,
        Trouble::ErrorAfter,
        Trouble::ErrorBefore,
        Trouble::Delayed,
        Trouble::Review,
        Trouble::Logout,
    ];
    match site {
        Kind::Sandbox => of_sandbox[choice % of_sandbox.len()],
        Kind::Classified => of_both[choice % of_both.len()],
    }
}

// === impl Point ===

impl Point {
    /// Every point, in the order in which a posting passes them.
    pub const ALL: [Self; 16] = [
        Self::Asked,
        Self::Dispatched,
        Self::Started,
        Self::Preparing,
        Self::Uploading,
        Self::Prepared,
        Self::Requested,
        Self::Permitted,
        Self::WillClick,
        Self::Arriving,
        Self::Clicked,
        Self::Noted,
        Self::Outcome,
        Self::Settled,
        Self::Ended,
        Self::Looking,
    ];

    /// Whether it lies between the permit and the outcome's settlement.
    pub fn in_commit(self) -> bool {
        matches!(
            self,
            Self::Requested
                | Self::Permitted
                | Self::WillClick
                | Self::Arriving
                | Self::Clicked
                | Self::Noted
                | Self::Outcome
        )
    }

    fn has_chrome(self) -> bool {
        !matches!(self, Self::Asked | Self::Dispatched | Self::Started | Self::Settled | Self::Ended)
    }
}

// === impl Span ===

impl Span {
    /// The time.
    pub fn duration(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(2),
            // Lease 30 s, looked at each second; the stream is given up after 30 s of silence.
            Self::Long => Duration::from_secs(40),
            // A step ends after 120 s, the report on a click is overdue after 60 s.
            Self::Minutes => Duration::from_secs(180),
        }
    }
}

// === names ===

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |victim: &Victim| format!("{victim:?}").to_lowercase();
        match self {
            Self::Kill(victim) => write!(f, "kill {}", name(victim)),
            Self::Stop(victim, span) => write!(f, "stop {} {} s", name(victim), span.duration().as_secs()),
            Self::Cut(link, span) => {
                write!(f, "cut {} {} s", format!("{link:?}").to_lowercase(), span.duration().as_secs())
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, site, database, point, fault, trouble } = self;
        write!(f, "case {number}: {fault} at {point:?} on {} with {database}", site.name())?;
        if *trouble == Trouble::None { Ok(()) } else { write!(f, ", and the site: {trouble:?}") }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_always_draws_the_same_cases_and_all_of_them() {
        let cases = draw(7);
        assert_eq!(cases, draw(7));
        assert_ne!(cases, draw(8));
        let points: HashSet<Point> = cases.iter().map(|case| case.point).collect();
        assert_eq!(points.len(), Point::ALL.len());
        let faults: HashSet<Fault> = cases.iter().map(|case| case.fault).collect();
        assert_eq!(faults.len(), super::faults().len());
        let unfit = cases
            .iter()
            .find(|case| case.database == Database::Sqlite && case.fault == Fault::Kill(Victim::Postgres));
        assert_eq!(unfit, None);
    }
}
