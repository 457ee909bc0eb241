//! Controllers of one PostgreSQL decide by its clock, whatever their machines' clocks say.

use std::time::Duration;

use anyhow::Result;
use tradepost_controller::app::{Opener, Surroundings, open_core};
use tradepost_controller::config::Config;
use tradepost_domain::time::Timestamp;
use tradepost_runtime::clock::ManualClock;
use tradepost_testkit::TestDatabase;

#[tokio::test]
async fn a_controller_with_a_wrong_clock_takes_the_databases_time() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = TestDatabase::empty_postgres().await?;
    let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
    config.database.url = Some(database.url().to_owned().into());
    let wrong = ManualClock::new(Timestamp::from_micros(1_000_000));
    let surroundings = Surroundings { clock: wrong, ..Surroundings::of_system() };
    let core = open_core(&config, &surroundings, Opener::Controller).await?;
    let before = core.store.server_time().await?;
    let shown = core.now();
    let after = core.store.server_time().await?;
    let slack = Duration::from_secs(1);
    assert!(before - slack <= shown && shown <= after + slack, "{before} {shown} {after}");
    core.store.close().await;
    Ok(())
}
