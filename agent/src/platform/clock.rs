//! A clock that counts the time the PC sleeps.

use std::time::Duration;

use super::os;

/// Time since some fixed moment before the start of the process. Runs on while the PC sleeps, and no setting of the wall
/// clock moves it.
pub fn boottime() -> Duration {
    os::boottime()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_never_runs_backwards() {
        let first = super::boottime();
        assert!(super::boottime() >= first);
    }
}
