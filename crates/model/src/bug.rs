//! Mistakes that an implementation of the protocol might make. Each must be found by the exploration.

/// A mistake, for tests only: the protocol is explored with it to see that it does harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// The agent clicks without asking for a permit.
    DropFence,
    /// The controller gives permits to runs that are not the job's present one.
    SkipRunLease,
    /// The controller gives permits over streams that are not the agent's newest.
    SkipEpochCheck,
    /// The agent clicks before `WILL_CLICK` is on the disk.
    ClickBeforeFsync,
    /// An agent that was started again goes on with the permit of its earlier process.
    ReusePermitAfterRestart,
    /// The baseline of an earlier preparation is kept.
    StaleBaseline,
    /// The agent clicks again when its click is not answered.
    RetryClick,
    /// A look counts as clean without a known listing on the page.
    SkipPositiveControl,
    /// A permit whose report is overdue is forgotten: back to Prepared.
    BackToPrepared,
    /// After a restart, a click that was announced and not noted as sent is told as not clicked.
    DenyUnprovenClick,
    /// After a sleep the agent clicks without looking at the form again.
    SkipLookAfterSleep,
    /// A look takes any listing with the right title for the published one, known or taken by another posting as it may be.
    ConfirmByTitle,
    /// A second permit for an account is given while the first is unsettled.
    ForgetAccountMutex,
    /// A publication counts as absent after the first look that does not show it.
    AbsentAtOnce,
    /// The agent clicks although its permit's life is over.
    IgnorePermitLife,
    /// A look that is given up leaves its publication uncertain.
    ForgetLook,
}
