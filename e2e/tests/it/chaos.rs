//! A handful of the cases of `make chaos`: one fault at one exact point each; the sites' records are the judge.

use anyhow::{Result, ensure};
use tradepost_e2e::chaos;
use tradepost_e2e::chaos::case::{Case, Database, Fault, Link, Point, Span, Trouble, Victim};
use tradepost_e2e::sites::Kind;

fn case(number: usize, point: Point, fault: Fault) -> Case {
    Case { number, site: Kind::Sandbox, database: Database::Sqlite, point, fault, trouble: Trouble::None }
}

async fn all_are_decided(cases: &[Case]) -> Result<()> {
    let folder = tempfile::TempDir::with_prefix("tradepost-chaos-")?;
    let verdicts = chaos::run(cases, folder.path()).await?;
    let wrong: Vec<String> = verdicts
        .iter()
        .filter(|v| !v.is_clean())
        .map(|v| format!("{}\n{:?}", v.line(), v.problems))
        .collect();
    if !wrong.is_empty() {
        // Kept for whoever has to find out.
        let kept = folder.keep();
        anyhow::bail!("{}\nlogs: {}", wrong.join("\n"), kept.display());
    }
    for verdict in &verdicts {
        ensure!(verdict.is_self_resolved(), "a person would be asked: {}", verdict.line());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_around_the_click_on_sqlite_are_decided_by_themselves() -> Result<()> {
    all_are_decided(&[
        case(0, Point::Requested, Fault::Kill(Victim::Controller)),
        case(1, Point::Permitted, Fault::Kill(Victim::Agent)),
        case(2, Point::WillClick, Fault::Kill(Victim::Chrome)),
        Case { trouble: Trouble::Delayed, ..case(3, Point::Clicked, Fault::Kill(Victim::Agent)) },
        case(4, Point::Outcome, Fault::Cut(Link::Agents, Span::Short)),
    ])
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_with_two_controllers_on_postgresql_are_decided_by_themselves() -> Result<()> {
    let on_postgres = |number, point, fault| Case {
        site: Kind::Classified,
        database: Database::Postgres,
        ..case(number, point, fault)
    };
    all_are_decided(&[
        on_postgres(0, Point::Asked, Fault::Kill(Victim::Controller)),
        on_postgres(1, Point::Outcome, Fault::Kill(Victim::Postgres)),
        on_postgres(2, Point::Arriving, Fault::Kill(Victim::Controller)),
    ])
    .await
}
