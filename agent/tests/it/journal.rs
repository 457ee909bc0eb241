//! What a start makes of the journal that an earlier process has left.

use std::sync::Arc;
use std::time::Duration;

use tradepost_agent::journal::{Journal, Outcome, PermitRequest, Record};
use tradepost_agent::session::settler::Settler;
use tradepost_domain::id::{IntentId, PermitId, SessionEpoch};
use tradepost_runtime::ids::Ids;
use uuid::Uuid;

use crate::controller::{Scripted, run};

fn request() -> PermitRequest {
    PermitRequest {
        request: Uuid::from_u128(9).to_string(),
        run: run(1, 1),
        intent: IntentId(Uuid::from_u128(2)),
        generation: 1,
        epoch: SessionEpoch(3),
        baseline_sha256: "b".into(),
        fingerprint: "f".into(),
    }
}

/// What the controller is told after a process ended with the first `count` of these records written.
async fn told_after(count: usize) -> Vec<&'static str> {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("journal");
    let permit = PermitId(Uuid::from_u128(9));
    let records = [
        Record::PermitRequested(request()),
        Record::Permit { request: request().request, permit, ttl: Duration::from_secs(15) },
        Record::WillClick { permit },
        Record::Clicked { permit },
    ];
    let journal = Journal::open(&path).expect("opens");
    records.into_iter().take(count).for_each(|record| journal.append(record).expect("appended"));
    drop(journal);

    let journal = Arc::new(Journal::open(&path).expect("opens again"));
    let controller = Scripted::new();
    // The first answer is lost, as answers are.
    controller.with(|heard| heard.lose_settlements = 1);
    let settler = Settler { link: controller.clone(), journal: journal.clone(), ids: Ids::seeded(1) };
    for recovery in journal.state().recovery() {
        settler.recover(recovery).await.expect("journalled");
    }
    drop((settler, journal));
    assert_eq!(Journal::open(&path).expect("opens").state().recovery(), [], "nothing is left to tell");
    controller.with(|heard| {
        let outcomes = heard.settled.iter().map(|(_, outcome)| match outcome {
            Outcome::Confirmed(_) => "confirmed",
            Outcome::NotClicked(_) => "not clicked",
            Outcome::Uncertain(_) => "uncertain",
        });
        outcomes.collect()
    })
}

#[tokio::test(start_paused = true)]
async fn a_restart_tells_each_open_permit_once_and_never_clicks() {
    assert_eq!(told_after(0).await, Vec::<&str>::new());
    assert_eq!(told_after(1).await, ["not clicked"], "the permit is asked for again, and given back");
    assert_eq!(told_after(2).await, ["not clicked"]);
    assert_eq!(told_after(3).await, ["uncertain"]);
    assert_eq!(told_after(4).await, ["uncertain"]);
}
