//! Looks for uncertain listings: kept as evidence, asked for by people, and what they prove.

use std::time::Duration;

use anyhow::{Context, Result};
use tradepost_domain::retry::MAX_ATTEMPTS;
use tradepost_proto::v1;
use v1::run_ended::Outcome;

use crate::agent::{Agent, Stream, failed, run, task};
use crate::system::{System, User, reason};

struct Scene {
    system: System,
    user: User,
    posting: v1::Posting,
    stream: Stream,
}

impl Scene {
    /// A posting whose click nobody reported on; its agent is back without the run.
    async fn uncertain() -> Result<Self> {
        let system = System::start().await?;
        let user = system.user().await?;
        let agent = Agent::enrol(&system, &user).await?;
        let account = user.account("shop", &agent.id).await?;
        let listing = user.listing("Drill").await?;
        let posting = user.post("p1", &listing.id, &account.id).await?;
        let mut stream = agent.attach(&system, &[]).await?;
        let dispatch = stream.dispatch().await?;
        stream.acknowledge(&run(&dispatch)).await?;
        stream.prepared(&dispatch).await?;
        stream.permit(&dispatch, "r1").await?;
        drop(stream);
        let stream = agent.attach(&system, &[]).await?;
        system.clock.advance(Duration::from_secs(61));
        user.reaches(&posting.id, v1::PostingState::Uncertain).await?;
        // Armed is shown as uncertain, too: a look can be asked for once the report is overdue.
        let due = || async {
            let waits = user.posting(&posting.id).await.map_err(|error| error.to_string())?.waiting_for;
            if waits.contains("look") { Ok(()) } else { Err(waits) }
        };
        tradepost_testkit::wait::until("a look to be planned", crate::system::DEADLINE, due).await?;
        Ok(Self { system, user, posting, stream })
    }

    async fn look(&mut self, report: v1::LookReport) -> Result<()> {
        let look = self.stream.dispatch().await?;
        anyhow::ensure!(look.kind() == v1::JobKind::Reconcile, "{:?}", look.kind());
        self.stream.acknowledge(&run(&look)).await?;
        self.stream.end(&run(&look), Outcome::Look(report)).await?;
        match self.stream.next().await? {
            v1::open_response::Frame::RunEndedStored(_) => Ok(()),
            other => anyhow::bail!("expected RunEndedStored, got {other:?}"),
        }
    }

    async fn looks(&self) -> Result<Vec<v1::Look>> {
        let request = self.user.request(v1::ListLooksRequest { posting_id: self.posting.id.clone() });
        Ok(self.user.postings().list_looks(request).await?.into_inner().looks)
    }

    async fn receipt(&self) -> Result<v1::Receipt> {
        let request = self.user.request(v1::GetReceiptRequest { posting_id: self.posting.id.clone() });
        self.user.postings().get_receipt(request).await?.into_inner().receipt.context("a receipt")
    }
}

fn seen(id: &str, matches: bool) -> v1::SeenItem {
    v1::SeenItem { item_id: id.into(), url: format!("http://127.0.0.1:9/marketplace/item/{id}/"), matches }
}

fn nothing_new() -> v1::LookReport {
    v1::LookReport { items: vec![seen("11", false)], whole: true, total: 2, ..v1::LookReport::default() }
}

#[tokio::test]
async fn a_look_that_is_asked_for_is_taken_at_once_and_its_receipt_is_whole() -> Result<()> {
    let mut scene = Scene::uncertain().await?;
    let request = || scene.user.request(v1::RequestLookRequest { id: scene.posting.id.clone() });
    scene.user.postings().request_look(request()).await?;
    scene.user.postings().request_look(request()).await?;
    scene.look(nothing_new()).await?;
    let looks = scene.looks().await?;
    assert_eq!(looks.len(), 1);
    assert_eq!((looks[0].before, looks[0].total, looks[0].known_seen), (2, 2, 1));
    assert!(looks[0].verdict.contains("nothing new"), "{looks:?}");

    let request = scene.user.request(v1::RequestLookRequest { id: scene.posting.id.clone() });
    scene.user.postings().request_look(request).await?;
    let check = v1::FieldCheck {
        field: "title".into(),
        wanted: "Drill".into(),
        found: "Drill".into(),
        matches: true,
    };
    let file = v1::EvidenceRef { name: "found.png".into(), sha256: "ab".repeat(32) };
    let page =
        v1::ReadPage { item_id: "13".into(), read_back: vec![check], recipe: "sandbox/publish@1".into() };
    let report = v1::LookReport {
        items: vec![seen("13", true), seen("11", false)],
        whole: true,
        total: 3,
        page: Some(page),
        evidence: vec![file],
    };
    scene.look(report).await?;
    scene.user.reaches(&scene.posting.id, v1::PostingState::Published).await?;
    let receipt = scene.receipt().await?;
    assert_eq!((receipt.witness.as_str(), receipt.recipe.as_str()), ("look", "sandbox/publish@1"));
    assert_eq!((receipt.read_back.len(), receipt.evidence.len()), (1, 1));
    assert_eq!((receipt.new_item_ids, receipt.count_after), (vec!["13".to_owned()], Some(3)));
    let request = scene.user.request(v1::RequestLookRequest { id: scene.posting.id.clone() });
    let refused = scene.user.postings().request_look(request).await.expect_err("it is published");
    assert_eq!(reason(&refused), "WRONG_STATE");
    Ok(())
}

#[tokio::test]
async fn a_persons_word_says_who_when_and_after_what() -> Result<()> {
    let mut scene = Scene::uncertain().await?;
    scene.system.clock.advance(Duration::from_secs(31));
    let other = v1::LookReport {
        items: vec![seen("13", false), seen("11", false)],
        whole: true,
        total: 3,
        ..v1::LookReport::default()
    };
    scene.look(other).await?;
    scene.user.reaches(&scene.posting.id, v1::PostingState::NeedsHuman).await?;
    // The address alone is enough: the site's recipe knows where the id stands in it.
    let item = v1::PublishedItem {
        item_id: String::new(),
        url: "http://127.0.0.1:9/marketplace/item/13/".into(),
        strategy: String::new(),
    };
    let finding = v1::resolve_posting_request::Finding::Published(item);
    let request = scene
        .user
        .request(v1::ResolvePostingRequest { id: scene.posting.id.clone(), finding: Some(finding) });
    let resolved =
        scene.user.postings().resolve_posting(request).await?.into_inner().posting.context("it")?;
    assert_eq!(resolved.item.context("an item")?.item_id, "13");
    let receipt = scene.receipt().await?;
    let resolution = receipt.resolution.context("who said so")?;
    assert_eq!((receipt.witness.as_str(), resolution.by.as_str()), ("person", "a@example.com"));
    assert!(resolution.at.is_some() && resolution.question.contains("title or price"), "{resolution:?}");
    assert_eq!((receipt.new_item_ids, receipt.count_after), (vec!["13".to_owned()], Some(3)));
    let told = scene.user.event("posting.resolved").await?;
    let data = format!("{:?}", told.data);
    assert!(data.contains("published") && data.contains("needs_human"), "{data}");
    scene.user.event("look.taken").await.map(drop)
}

/// Looks over the whole schedule, all of them clean.
async fn looked_for_a_day(scene: &mut Scene) -> Result<()> {
    for hours in [0, 0, 0, 1, 6, 24, 24] {
        scene.system.clock.advance(Duration::from_secs(hours * 3_600 + 700));
        if scene.user.posting(&scene.posting.id).await?.state() != v1::PostingState::Uncertain {
            break;
        }
        scene.look(nothing_new()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_absent_listing_is_posted_again_only_where_the_account_wants_it() -> Result<()> {
    for again in [false, true] {
        let mut scene = Scene::uncertain().await?;
        let account = scene.user.auto_republish(&scene.posting.account_id, again).await?;
        assert_eq!(account.auto_republish, again);
        looked_for_a_day(&mut scene).await?;
        let posting = scene.user.posting(&scene.posting.id).await?;
        if again {
            let dispatch = scene.stream.dispatch().await?;
            assert_eq!(dispatch.kind(), v1::JobKind::Publish);
            assert_eq!(
                (task(&dispatch).generation, task(&dispatch).posting_id.as_str()),
                (2, posting.id.as_str())
            );
        } else {
            assert_eq!(posting.state(), v1::PostingState::Failed);
            assert!(posting.failure.context("why")?.message.contains("does not have the listing"));
        }
    }
    Ok(())
}

/// A look that cannot be taken is tried again; when it is given up, a person is asked with the same write, and may have it
/// taken again.
#[tokio::test]
async fn a_look_that_is_given_up_asks_a_person() -> Result<()> {
    let mut scene = Scene::uncertain().await?;
    let mut tries = 0;
    while scene.user.posting(&scene.posting.id).await?.state() == v1::PostingState::Uncertain {
        tries += 1;
        anyhow::ensure!(tries <= MAX_ATTEMPTS, "a look is tried {tries} times");
        // Longer than any delay between two tries, and than the first look's.
        scene.system.clock.advance(Duration::from_secs(3_600));
        let look = scene.stream.dispatch().await?;
        scene.stream.acknowledge(&run(&look)).await?;
        scene.stream.end(&run(&look), failed("network")).await?;
        let stored = scene.stream.next().await?;
        anyhow::ensure!(matches!(stored, v1::open_response::Frame::RunEndedStored(_)), "{stored:?}");
    }
    assert_eq!(tries, MAX_ATTEMPTS);
    let posting = scene.user.posting(&scene.posting.id).await?;
    assert_eq!(posting.state(), v1::PostingState::NeedsHuman);
    let why = posting.failure.context("a question")?.message;
    assert!(why.contains("could not be read"), "{why}");
    Ok(())
}
