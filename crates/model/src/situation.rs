//! What an exploration should have come across.

/// Something worth having seen: an exploration that never got there would prove little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    /// A permit was given.
    Armed,
    /// A repeated request got its permit again.
    PermitAskedAgain,
    /// A permit whose answer was lost was given back.
    PermitReturned,
    /// A permit ran out before its click.
    PermitExpired,
    /// The form was looked at again after a sleep.
    LookedAfterSleep,
    /// A click was sent.
    Clicked,
    /// Confirmed by the run that clicked.
    ConfirmedByRun,
    /// Confirmed by a later look.
    ConfirmedByLook,
    /// Confirmed by a person.
    ConfirmedByPerson,
    /// Proven absent.
    ProvenAbsent,
    /// Several new listings.
    Duplicate,
    /// A person is asked about a click.
    PersonAsked,
    /// An uncertain publication turned out not clicked.
    UnknownNotClicked,
    /// The journal of an earlier process proved that no click was sent.
    ProvenNotClicked,
    /// A write of an older run was refused.
    StaleWriteRefused,
    /// A write over an older stream was refused.
    OldStreamRefused,
    /// No permit while another is unsettled.
    AccountBusy,
    /// A listing that belongs to another posting was not taken for this one's.
    ItemTaken,
    /// A settlement came too late to change anything.
    LateSettlement,
    /// The report's deadline passed.
    ReportOverdue,
    /// The stream was lost while a permit was out.
    FailoverWhileArmed,
    /// A lease ended while a permit was out.
    LeaseEndedWhileArmed,
    /// A parked run went on with its agent.
    ParkedAndResumed,
    /// A run ended as it was asked to.
    Stopped,
    /// Chrome finished a click after its agent had died.
    ZombieChrome,
    /// A look was given up.
    LookGivenUp,
    /// A dead letter.
    GivenUp,
    /// Cancelled.
    Cancelled,
    /// A fresh generation followed.
    FreshGeneration,
    /// A restored database learnt of a click that it had forgotten.
    ForgottenClickTold,
    /// A restored database made an open permit uncertain.
    RestoredUnknown,
}
