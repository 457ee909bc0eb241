//! Keeping this process's clock at the database's, so that all controllers of one database decide by one clock (I8).

use std::sync::Arc;

use tradepost_runtime::clock::SharedClock;
use tradepost_runtime::clock::disciplined::{DisciplinedClock, Followed, Sample};
use tradepost_store::Store;

use crate::service::Result;

/// A correction that is worth a word, in microseconds.
const NOTABLE: i64 = 1_000_000;

/// A clock that shows the database's time from now on; `rough` serves until its first answer.
pub async fn clock_of(
    store: &dyn Store,
    rough: &SharedClock,
) -> std::result::Result<Arc<DisciplinedClock>, tradepost_store::Error> {
    let clock = Arc::new(DisciplinedClock::new(rough.now()));
    let sample = ask(store, &clock).await?;
    match clock.follow(sample) {
        Followed::Set(step) if step.abs() >= NOTABLE => tracing::warn!(
            seconds = step / 1_000_000,
            "this machine's clock differs from the database's, which counts; is NTP running?"
        ),
        Followed::Set(_) => {}
        Followed::TooSlow => {
            tracing::warn!("the database answers slowly; its time is taken at the next question");
        }
    }
    Ok(clock)
}

/// Asks the database for its time, and follows it.
pub async fn follow(store: &dyn Store, clock: &DisciplinedClock) -> Result<()> {
    let sample = ask(store, clock).await?;
    match clock.follow(sample) {
        Followed::Set(step) => {
            if step.abs() >= NOTABLE {
                tracing::warn!(milliseconds = step / 1000, "the clock was set to the database's");
            }
            crate::metric::clock_step(step);
        }
        Followed::TooSlow => tracing::debug!("the database's time came too late to be of use"),
    }
    Ok(())
}

async fn ask(
    store: &dyn Store,
    clock: &DisciplinedClock,
) -> std::result::Result<Sample, tradepost_store::Error> {
    let asked = clock.monotonic();
    let told = store.server_time().await?;
    Ok(Sample { asked, answered: clock.monotonic(), told })
}
