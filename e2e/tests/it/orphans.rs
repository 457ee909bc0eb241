//! A few loops of `make orphans`.

use anyhow::{Result, ensure};
use tradepost_e2e::{chaos, orphans};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_chrome_whenever_the_agent_is_killed() -> Result<()> {
    let report = orphans::run(8, 3, &chaos::say).await?;
    ensure!(report.with_chrome > 0, "no kill met a Chrome: {report:?}");
    Ok(())
}
