//! Everything that may happen, in words.

use std::fmt;

use crate::world::{Fault, Message, Outcome, Reason, Which};

/// How a click ends at the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// The listing is there and shown.
    Shown,
    /// The listing is there and not shown yet.
    Hidden,
    /// The form shows why the listing is refused.
    Refused,
    /// Nothing comes of it, and nothing is answered.
    Dropped,
}

/// How a look at the account's listings goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The page was read to its end.
    Whole,
    /// The page looks whole and shows nothing at all.
    Blank,
    /// Only the beginning of the page could be read.
    Partial,
}

/// How a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It arrives, and so does its reply.
    Fine,
    /// It arrives; its reply is lost.
    ReplyLost,
    /// It arrives, and once more later.
    Twice,
    /// It is lost.
    Lost,
}

/// Whether a deadline that passes is what must come, or a fault: somebody lives who should have spoken in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nobody is left to speak.
    Yes,
    /// Somebody is, and is late.
    No,
}

/// Something that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The agent opens a stream; everything is reconciled.
    Connect,
    /// The agent opens a stream, and does not hear the welcome.
    ConnectUnheard,
    /// A heartbeat with the runs under way.
    Beat,
    /// The stream breaks.
    StreamLost,
    /// A message goes its way.
    Send(Message, Way),
    /// A controller claims a job.
    Claim(Which, bool),
    /// The sweep ends a lease.
    LeaseExpires(Which, bool, Expected),
    /// The time for the report on a click has passed.
    Overdue(Which, Expected),
    /// The visibility horizon passes.
    DayPasses,

    /// The agent's process dies.
    AgentCrash,
    /// It starts again and ends what was left of Chrome.
    AgentRestart,
    /// Chrome dies.
    ChromeCrash,
    /// The PC sleeps and wakes.
    Sleep,
    /// The permit's life ends.
    LifeOver,
    /// The run reads the account's listings and fills the form.
    Fill,
    /// The run says again what was lost.
    SayAgain,
    /// The run asks for its permit.
    AskPermit,
    /// The run looks at the form again.
    LookAtForm,
    /// The run writes `WILL_CLICK`.
    Announce,
    /// The run clicks.
    Click,
    /// The run gives its permit back: too late.
    GiveBack,
    /// The run ends as it was asked to.
    Stop,
    /// A step of the run fails.
    RunFails(Reason),
    /// The run reads the site's answer to its click.
    ReadAnswer,
    /// The run gets no answer to its click.
    NoAnswer,
    /// The run finds one new listing among the account's own.
    FindNew(u8),
    /// A look is taken.
    Look(Sight),
    /// The settler goes on with a request of an earlier process.
    Recover(u8),

    /// A click takes effect.
    Lands(u8, Landing),
    /// A hidden listing is shown.
    Surfaces(u8),
    /// The seller deletes a listing.
    SellerDeletes(u8),
    /// The seller posts a listing by hand.
    SellerPosts,

    /// A person cancels a posting.
    Cancel(Which),
    /// A person asks for a new try.
    Retry(Which),
    /// A person finds the listing.
    ResolvePublished(Which, u8),
    /// A person finds that there is no listing.
    ResolveNotPublished(Which),
    /// A person lets a look go on that waited for them.
    ResumeLook(Which),

    /// The database is copied.
    BackUp,
    /// The database is replaced by the copy.
    Restore,
}

impl Action {
    /// The fault that this is, if it is one.
    pub fn fault(self) -> Option<Fault> {
        Some(match self {
            Self::AgentCrash => Fault::AgentCrash,
            Self::ChromeCrash => Fault::ChromeCrash,
            Self::StreamLost => Fault::StreamLost,
            Self::ConnectUnheard | Self::Send(_, Way::ReplyLost | Way::Lost) => Fault::Lost,
            Self::Send(_, Way::Twice) => Fault::Twice,
            Self::Sleep => Fault::Sleep,
            Self::LifeOver => Fault::Slow,
            Self::LeaseExpires(_, _, Expected::No) | Self::Overdue(_, Expected::No) => Fault::Silence,
            Self::RunFails(_) => Fault::RunFails,
            Self::Look(Sight::Blank | Sight::Partial) => Fault::BadLook,
            Self::Lands(_, Landing::Refused | Landing::Dropped) => Fault::SiteFails,
            Self::Lands(_, Landing::Hidden) => Fault::ShownLate,
            Self::SellerDeletes(_) => Fault::SellerDeletes,
            Self::SellerPosts => Fault::SellerPosts,
            Self::Cancel(_) => Fault::Cancel,
            Self::Retry(_) => Fault::Retry,
            Self::Restore => Fault::Restore,
            _ => return None,
        })
    }

    /// Whether a person does it.
    pub fn by_person(self) -> bool {
        matches!(
            self,
            Self::Cancel(_)
                | Self::Retry(_)
                | Self::ResolvePublished(..)
                | Self::ResolveNotPublished(_)
                | Self::ResumeLook(_)
                | Self::SellerDeletes(_)
                | Self::SellerPosts
        )
    }
}

/// A posting's name.
fn name(posting: Which) -> char {
    if posting == 0 { 'A' } else { 'B' }
}

fn job(posting: Which, look: bool) -> String {
    if look { format!("the look for {}", name(posting)) } else { format!("posting {}", name(posting)) }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed(item) => write!(f, "confirmed by listing {item}"),
            Self::NotClicked(_) => f.write_str("not clicked"),
            Self::Uncertain => f.write_str("uncertain"),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Dispatch { posting, look, lease, .. } => {
                write!(f, "dispatch of {} (run {lease})", job(posting, look))
            }
            Self::Prepared { posting, lease, .. } => {
                write!(f, "\"the form of {} is filled\" (run {lease})", name(posting))
            }
            Self::Arm { posting, lease, request, .. } => {
                write!(f, "\"may I click for {}?\" (run {lease}, request {request})", name(posting))
            }
            Self::Settle { posting, request, outcome, .. } => {
                write!(f, "\"the click for {} is {outcome}\" (permit {request})", name(posting))
            }
            Self::Ended(owed) => {
                write!(
                    f,
                    "\"run {} of {} has ended: {:?}\"",
                    owed.lease,
                    job(owed.posting, owed.look),
                    owed.ending
                )
            }
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Connect => f.write_str("the agent opens a stream; its runs are reconciled"),
            Self::ConnectUnheard => f.write_str("the agent opens a stream and does not hear the welcome"),
            Self::Beat => f.write_str("the agent sends a heartbeat"),
            Self::StreamLost => f.write_str("the controller dies, or the line is cut: the stream is lost"),
            Self::Send(message, way) => match way {
                Way::Fine => write!(f, "arrives: {message}"),
                Way::ReplyLost => write!(f, "arrives, and its reply is lost: {message}"),
                Way::Twice => write!(f, "arrives, and will once more: {message}"),
                Way::Lost => write!(f, "is lost: {message}"),
            },
            Self::Claim(posting, look) => write!(f, "a controller claims {}", job(posting, look)),
            Self::LeaseExpires(posting, look, _) => write!(f, "the lease of {} ends", job(posting, look)),
            Self::Overdue(posting, _) => {
                write!(f, "the report on the click for {} is overdue", name(posting))
            }
            Self::DayPasses => f.write_str("the visibility horizon passes"),
            Self::AgentCrash => f.write_str("the agent's process dies; Chrome lives on"),
            Self::AgentRestart => {
                f.write_str("the agent starts again and ends Chrome of its earlier process")
            }
            Self::ChromeCrash => f.write_str("Chrome dies"),
            Self::Sleep => f.write_str("the PC sleeps and wakes"),
            Self::LifeOver => f.write_str("the permit's life ends on the agent's clocks"),
            Self::Fill => f.write_str("the run reads the account's listings and fills the form"),
            Self::SayAgain => f.write_str("the run says again what was not answered"),
            Self::AskPermit => f.write_str("the run asks for its permit"),
            Self::LookAtForm => f.write_str("the run looks at the form again"),
            Self::Announce => f.write_str("the run writes WILL_CLICK"),
            Self::Click => f.write_str("the run CLICKS"),
            Self::GiveBack => f.write_str("the run gives the permit back: too late"),
            Self::Stop => f.write_str("the run ends as it was asked to"),
            Self::RunFails(reason) => write!(f, "the run fails ({reason:?})"),
            Self::ReadAnswer => f.write_str("the run reads the site's answer"),
            Self::NoAnswer => f.write_str("the run gets no answer to its click"),
            Self::FindNew(item) => {
                write!(f, "the run finds listing {item} as the one new among the account's own")
            }
            Self::Look(Sight::Whole) => f.write_str("a look at the account's listings is taken"),
            Self::Look(Sight::Blank) => f.write_str("a look sees an empty page that looks whole"),
            Self::Look(Sight::Partial) => f.write_str("a look sees the beginning of the page only"),
            Self::Recover(request) => {
                write!(f, "the settler goes on with request {request} of an earlier run")
            }
            Self::Lands(posting, landing) => {
                let what = match landing {
                    Landing::Shown => "the listing is there",
                    Landing::Hidden => "the listing is there, not shown yet",
                    Landing::Refused => "the site refuses the listing",
                    Landing::Dropped => "nothing comes of it",
                };
                write!(f, "the click for {} lands: {what}", name(posting))
            }
            Self::Surfaces(item) => write!(f, "listing {item} is shown at last"),
            Self::SellerDeletes(item) => write!(f, "the seller deletes listing {item}"),
            Self::SellerPosts => f.write_str("the seller posts a listing by hand"),
            Self::Cancel(posting) => write!(f, "a person cancels {}", name(posting)),
            Self::Retry(posting) => write!(f, "a person asks for a new try of {}", name(posting)),
            Self::ResolvePublished(posting, item) => {
                write!(f, "a person finds listing {item} for {}", name(posting))
            }
            Self::ResolveNotPublished(posting) => {
                write!(f, "a person finds that {} is not published", name(posting))
            }
            Self::ResumeLook(posting) => write!(f, "a person lets the look for {} go on", name(posting)),
            Self::BackUp => f.write_str("the database is copied"),
            Self::Restore => f.write_str("the database is replaced by the older copy"),
        }
    }
}
