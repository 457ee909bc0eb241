//! What a person reads when something did not work, and the exit code a script reads.

use std::io;
use std::process::ExitCode;

/// How the process ends. The numbers are stable; [`EXIT_CODES`] explains them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    Failed,
    Usage,
    NotFound,
    Denied,
    Unreachable,
    PostingFailed,
    PostingNeedsHuman,
    PostingUncertain,
    PostingCancelled,
    StillUnderWay,
    Interrupted,
    /// The reader of our output went away, e.g. `| head`: nobody is left to tell.
    ReaderGone,
}

/// The page that `tradepost help exit-codes` shows.
pub(crate) const EXIT_CODES: &str = "\
Exit codes are stable: scripts may rely on them.

   0  done; for watch: published
   1  it did not work
   2  wrong usage or bad input; nothing was changed
   3  there is no such thing
   4  not logged in, or not allowed
   5  the controller cannot be reached or does not answer
  10  the posting failed: there is no listing on the site
  11  the posting, or the sign-in, needs a person
  12  the posting is uncertain: whether the listing exists is being found out
  13  the posting was cancelled
  14  the posting is still under way (--wait ran out)
 130  interrupted with Ctrl-C; the posting goes on";

/// One failure: a line, its parts, the mend.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) exit: Exit,
    /// One clear line, without a final point.
    pub(crate) message: String,
    /// One line each, e.g. the fields that break a rule.
    pub(crate) details: Vec<String>,
    /// What to do, one line each.
    pub(crate) hints: Vec<String>,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Ok | Self::ReaderGone => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Denied => 4,
            Self::Unreachable => 5,
            Self::PostingFailed => 10,
            Self::PostingNeedsHuman => 11,
            Self::PostingUncertain => 12,
            Self::PostingCancelled => 13,
            Self::StillUnderWay => 14,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Error {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), details: Vec::new(), hints: Vec::new() }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    pub(crate) fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// An error while writing our own output.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Exit::ReaderGone, "the reader of the output went away")
        } else {
            Self::failed(format!("cannot write the output: {error}"))
        }
    }
}
