//! Changes of work rows.

use anyhow::{Context, Result};
use tradepost_domain::event::Kind;
use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::id::{AgentId, JobId, PermitId, RunLease, SessionEpoch, Version};
use tradepost_domain::job::{self, Job};
use tradepost_domain::posting::{self, EvidenceRef, FieldCheck, Posting, Publication, Receipt, Trail};
use tradepost_domain::publish::{self, Permit, PublishedItem};

use super::world::{START, Seller, World, at, creation, event, first, update};
use crate::{Change, ChangeReceipt, Conflict, EpochGuard, Error, JobFilter, PostingFilter};

fn prepared(lease: RunLease, baseline: &[String]) -> posting::Event {
    posting::Event::Intent(publish::Event::Prepared {
        run_lease: lease,
        baseline: baseline.to_vec(),
        fingerprint: String::from("form"),
    })
}

fn armed(seller: &Seller, permit: PermitId, lease: RunLease, baseline: &[String]) -> posting::Event {
    posting::Event::Intent(publish::Event::Arm {
        permit,
        request: format!("request {permit}"),
        run_lease: lease,
        epoch: seller.agent.epoch,
        baseline_hash: publish::baseline_hash(baseline),
        fingerprint: String::from("form"),
    })
}

fn item(id: &str) -> PublishedItem {
    PublishedItem {
        item_id: id.to_owned(),
        url: format!("https://market.example.com/item/{id}"),
        strategy: String::from("id_in_url"),
    }
}

fn receipt(agent: AgentId, id: &str) -> Receipt {
    Receipt {
        item: item(id),
        baseline_count: 3,
        read_back: vec![FieldCheck {
            field: String::from("title"),
            wanted: String::from("Chair"),
            found: String::from("Chair"),
            matches: true,
        }],
        evidence: vec![EvidenceRef { name: String::from("before_fence.png"), sha256: "ab".repeat(32) }],
        recipe: String::from("sandbox/publish@1"),
        agent,
        prepare_ms: 1200,
        confirm_ms: 800,
        trail: Trail::default(),
    }
}

/// Everything that is written is read back as it was, through every state of a good publication.
pub async fn a_publication_is_kept_from_queue_to_receipt(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let publication = world.publication(&seller).await?;
    assert_eq!(world.reload(&publication).await?, publication);
    let (mut now, workspace) = (at(1), seller.tenant.workspace);
    let claimed = world.claim(&seller.agent, 1, now).await?;
    let lease = claimed.first().and_then(|job| job.run_lease).context("nothing was claimed")?;
    let expected = job::step(&publication.job, job::Event::Claim { run_lease: lease }, now)?;
    assert_eq!(claimed, [Job { version: Version(2), ..expected }]);
    let mut publication = world.reload(&publication).await?;
    assert_eq!(publication.posting.state, posting::State::Running);
    let baseline: Vec<String> = (0..20_000).map(|n| format!("item-{n}")).collect();
    let permit = PermitId(world.id());
    let events = [
        posting::Event::Job(job::Event::Acknowledge(lease)),
        prepared(lease, &[String::from("an older preparation")]),
        prepared(lease, &baseline),
        armed(&seller, permit, lease, &baseline),
        posting::Event::Intent(publish::Event::Confirm { permit, item: item("42") }),
    ];
    for event in events {
        now = now + std::time::Duration::from_micros(1);
        let (expected, _) = posting::step(&publication, event.clone(), publication.intent.id, now)?;
        let stored = world.step(&publication, event, now).await?;
        assert_eq!(stored, next_version(expected));
        publication = stored;
    }
    assert_eq!(publication.posting.state, posting::State::Published);
    assert_eq!(world.store.find_intent_by_permit(permit).await?, Some(publication.intent.clone()));
    assert_eq!(world.store.find_intent(publication.intent.id).await?, Some(publication.intent.clone()));
    let proof = receipt(seller.agent.id, "42");
    let kept = ChangeReceipt {
        workspace,
        posting: publication.posting.id,
        intent: publication.intent.id,
        receipt: proof.clone(),
    };
    let change = Change { receipt: Some(kept), ..Change::default() };
    world.store.commit(change, now).await?;
    assert_eq!(world.store.find_receipt(workspace, publication.posting.id).await?, Some(proof));
    let told = world.store.list_events(workspace, 0, Some(publication.posting.id), 100).await?;
    assert_eq!(told.first().map(|event| event.event.kind), Some(Kind::PostingCreated));
    assert_eq!(told.last().map(|told| &told.event), Some(&event(&publication.posting, Kind::PostingChanged)));
    assert_eq!(told.last().map(|told| told.at), Some(now));
    Ok(())
}

fn next_version(publication: Publication) -> Publication {
    let Publication { mut posting, mut job, mut intent } = publication;
    posting.version.0 += 1;
    job.version.0 += 1;
    intent.version.0 += 1;
    Publication { posting, job, intent }
}

/// One stale or conflicting row, wherever it stands, leaves everything as it was.
pub async fn a_change_is_whole_or_nothing(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let workspace = seller.tenant.workspace;
    let (publication, lease) = world.running(&seller, START).await?;
    let other_listing = world.listing(seller.tenant).await?;
    let (next, _) = posting::step(&publication, prepared(lease, &[]), publication.intent.id, at(1))?;
    let newcomer = world.new_publication(&seller.account, seller.agent.id, other_listing.id);
    let whole = || {
        let created = creation(&newcomer);
        Change {
            new_jobs: created.new_jobs,
            new_intents: created.new_intents,
            new_postings: created.new_postings,
            ..update(&next)
        }
    };
    let feed = world.store.last_event(workspace).await?;
    let mut spoiled = vec![whole(), whole(), whole()];
    spoiled[0].jobs[0].version = Version(1);
    spoiled[1].intents[0].version = Version(99);
    spoiled[2].postings[0].version = Version(99);
    for change in spoiled {
        assert!(matches!(world.store.commit(change, at(1)).await, Err(Error::Stale)));
    }
    let mut foreign = whole();
    foreign.jobs[0].workspace = world.tenant().await?.workspace;
    assert!(matches!(world.store.commit(foreign, at(1)).await, Err(Error::Stale)));
    let mut known_job = whole();
    known_job.new_jobs[0].id = publication.job.id;
    let refused = world.store.commit(known_job, at(1)).await;
    assert!(matches!(refused, Err(Error::Conflict(Conflict::Id))), "{refused:?}");
    assert_eq!(world.reload(&publication).await?, publication);
    assert_eq!(world.store.find_publication(workspace, newcomer.posting.id).await?, None);
    assert_eq!(world.store.find_intent(newcomer.intent.id).await?, None);
    assert_eq!(world.store.last_event(workspace).await?, feed);
    world.store.commit(whole(), at(1)).await?;
    assert_eq!(world.reload(&publication).await?, next_version(next.clone()));
    assert_eq!(world.reload(&newcomer).await?, newcomer);
    assert_eq!(world.store.last_event(workspace).await?, feed + 1);
    assert!(matches!(world.store.commit(update(&next), at(2)).await, Err(Error::Stale)), "applied twice");
    Ok(())
}

/// I1's sibling for streams: what an agent asked over an older stream, or after its revocation, changes nothing.
pub async fn an_older_stream_changes_nothing(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (publication, lease) = world.running(&seller, START).await?;
    let (next, _) = posting::step(&publication, prepared(lease, &[]), publication.intent.id, at(1))?;
    let guarded = |guard: EpochGuard| Change { guard: Some(guard), ..update(&next) };
    let older = seller.guard();
    let newer = world.attach(seller.agent.id).await?;
    assert_eq!(newer.epoch, SessionEpoch(older.epoch.0 + 1));
    assert!(matches!(world.store.commit(guarded(older), at(1)).await, Err(Error::Stale)));
    world.store.commit(guarded(EpochGuard { agent: newer.id, epoch: newer.epoch }), at(1)).await?;
    world.store.revoke_agent(seller.tenant.workspace, newer.id, at(2)).await?;
    let after =
        Change { guard: Some(EpochGuard { agent: newer.id, epoch: newer.epoch }), ..Change::default() };
    assert!(matches!(world.store.commit(after, at(3)).await, Err(Error::Stale)));
    Ok(())
}

/// `Conflict::PostingOpen` until the first one is settled for good.
pub async fn one_listing_has_one_open_posting_per_account(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let publication = world.publication(&seller).await?;
    let again = || world.new_publication(&seller.account, seller.agent.id, publication.posting.listing);
    for state in [posting::State::Queued, posting::State::Uncertain, posting::State::NeedsHuman] {
        let mut stored = world.reload(&publication).await?;
        stored.posting.state = state;
        world.store.commit(update(&stored), START).await?;
        let refused = world.store.commit(creation(&again()), START).await;
        assert!(matches!(refused, Err(Error::Conflict(Conflict::PostingOpen))), "{state:?}: {refused:?}");
    }
    let other_account = world.account(seller.tenant, seller.agent.id).await?;
    let elsewhere = world.new_publication(&other_account, seller.agent.id, publication.posting.listing);
    world.store.commit(creation(&elsewhere), START).await?;
    let mut stored = world.reload(&publication).await?;
    stored.posting.state = posting::State::Failed;
    stored.posting.failure =
        Some(Failure::new(FailureClass::LimitReached, "publish", "the limit").in_field("price"));
    world.store.commit(update(&stored), START).await?;
    assert_eq!(world.reload(&stored).await?.posting.failure, stored.posting.failure);
    world.store.commit(creation(&again()), START).await?;
    Ok(())
}

/// Only a Published one counts, of that listing, on that account; the newest of several.
pub async fn a_published_posting_is_found_by_its_listing_and_account(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let workspace = seller.tenant.workspace;
    let account = seller.account.id;
    let mut publication = world.publication(&seller).await?;
    let listing = publication.posting.listing;
    assert_eq!(world.store.find_published_posting(workspace, listing, account).await?, None, "it is queued");
    publication.posting.state = posting::State::Published;
    publication.posting.item = Some(item("1"));
    world.store.commit(update(&publication), START).await?;
    let stored = world.reload(&publication).await?.posting;
    assert_eq!(world.store.find_published_posting(workspace, listing, account).await?, Some(stored));
    let mut newer = world.new_publication(&seller.account, seller.agent.id, listing);
    newer.posting.created_at = at(1);
    newer.posting.state = posting::State::Published;
    newer.posting.item = Some(item("2"));
    world.store.commit(creation(&newer), at(1)).await?;
    let found = world.store.find_published_posting(workspace, listing, account).await?;
    assert_eq!(found.map(|posting| posting.id), Some(newer.posting.id));
    let other_listing = world.listing(seller.tenant).await?.id;
    let other_account = world.account(seller.tenant, seller.agent.id).await?.id;
    let stranger = world.tenant().await?.workspace;
    for (workspace, listing, account) in [
        (workspace, other_listing, account),
        (workspace, listing, other_account),
        (stranger, listing, account),
    ] {
        assert_eq!(world.store.find_published_posting(workspace, listing, account).await?, None);
    }
    Ok(())
}

/// I2 and I6.
pub async fn one_intent_per_account_is_armed_and_one_per_item_confirmed(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let mut first = world.publication(&seller).await?;
    let mut second = world.publication(&seller).await?;
    let permit = |publication: &Publication| {
        Some(Permit {
            id: PermitId(publication.intent.id.0),
            request: String::from("once"),
            run_lease: RunLease(1),
            epoch: seller.agent.epoch,
            armed_at: START,
            report_by: at(60),
        })
    };
    first.intent.permit = permit(&first);
    second.intent.permit = permit(&second);
    first.intent.state = publish::State::Armed;
    world.store.commit(update(&first), START).await?;
    for (held, asked) in [
        (publish::State::Armed, publish::State::Armed),
        (publish::State::Unknown, publish::State::Armed),
        (publish::State::Armed, publish::State::Unknown),
    ] {
        first = world.reload(&first).await?;
        first.intent.state = held;
        world.store.commit(update(&first), START).await?;
        second.intent.state = asked;
        let refused = world.store.commit(update(&second), START).await;
        assert!(matches!(refused, Err(Error::Conflict(Conflict::AccountBusy))), "{refused:?}");
    }
    first = world.reload(&first).await?;
    first.intent.state = publish::State::Confirmed;
    first.intent.item = Some(item("42"));
    world.store.commit(update(&first), START).await?;
    second.intent.state = publish::State::Armed;
    world.store.commit(update(&second), START).await?;
    second = world.reload(&second).await?;
    second.intent.state = publish::State::Confirmed;
    second.intent.item = Some(item("42"));
    let refused = world.store.commit(update(&second), START).await;
    assert!(matches!(refused, Err(Error::Conflict(Conflict::ItemTaken))), "{refused:?}");
    second.intent.item = Some(item("43"));
    world.store.commit(update(&second), START).await?;
    Ok(())
}

/// Lists by account, by state, by both, and without a filter.
pub async fn lists_are_filtered_and_newest_first(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let workspace = seller.tenant.workspace;
    let elsewhere =
        Seller { account: world.account(seller.tenant, seller.agent.id).await?, ..seller.clone() };
    let mut all: Vec<(JobId, Posting)> = Vec::new();
    for (n, owner) in [&seller, &elsewhere, &seller, &elsewhere].into_iter().enumerate() {
        let mut publication = world.publication(owner).await?;
        if n >= 2 {
            publication.posting.state = posting::State::Failed;
            publication.job.state = job::State::Failed;
            world.store.commit(update(&publication), START).await?;
        }
        all.insert(0, (publication.job.id, world.reload(&publication).await?.posting));
    }
    let filters = [
        (None, false, vec![0, 1, 2, 3]),
        (Some(seller.account.id), false, vec![1, 3]),
        (None, true, vec![0, 1]),
        (Some(elsewhere.account.id), true, vec![0]),
    ];
    for (account, failed, expected) in filters {
        let filter = PostingFilter { state: failed.then_some(posting::State::Failed), account };
        let postings = world.store.list_postings(workspace, filter, first(10)).await?;
        let wanted: Vec<_> = expected.iter().map(|n| all[*n].1.clone()).collect();
        assert_eq!(postings.rows, wanted);
        assert_eq!(postings.next, None);
        let filter = JobFilter { state: failed.then_some(job::State::Failed), account, dead_letters: false };
        let jobs = world.store.list_jobs(workspace, filter, first(10)).await?;
        let wanted: Vec<_> = expected.iter().map(|n| all[*n].0).collect();
        assert_eq!(jobs.rows.iter().map(|job| job.id).collect::<Vec<_>>(), wanted);
    }
    let mut counts = world.store.count_jobs().await?;
    counts.sort_by_key(|(state, _)| state.name());
    assert_eq!(counts, [(job::State::Failed, 2), (job::State::Queued, 2)]);
    Ok(())
}
