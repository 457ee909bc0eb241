//! The audit log: with the effect or not at all, and whole whoever writes and seals at once.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use tradepost_domain::audit::verify::{Verdict, Verifier};
use tradepost_domain::audit::{Actor, Chain, Outcome, Target};
use tradepost_domain::id::{AuditEntryId, CallId, ControllerId, UserId, WorkspaceId};
use tradepost_domain::throttle;
use tradepost_domain::user::State;

use super::Town;
use super::world::{START, at, creation, first};
use crate::audit::{self, Author, Scope};
use crate::{AuditFilter, Conflict, Error, Registration};

impl Town {
    /// A call of nobody in particular.
    fn author(&self, chain: Chain, method: &str) -> Author {
        Author {
            chain,
            actor: Actor::Host,
            proof: None,
            peer: String::from("192.0.2.1"),
            method: method.to_owned(),
            call: CallId(self.world.id()),
            controller: ControllerId(self.world.id()),
            at: START,
            first_entry: AuditEntryId(self.world.id()),
        }
    }

    fn scope(&self, chain: Chain, method: &str) -> Scope {
        Scope::new(self.author(chain, method))
    }

    async fn waiting(&self) -> Result<u64> {
        Ok(self.store.audit_waiting(None).await?.count)
    }

    fn newcomer(&self, name: &str) -> Registration {
        Registration {
            id: UserId(self.world.id()),
            email: format!("{name}@example.com"),
            password_hash: String::from("hash"),
            state: State::Pending,
        }
    }

    /// Reads a chain as a verifier does.
    async fn verdict(&self, chain: Chain) -> Result<Verdict> {
        let mut verifier = Verifier::new(chain, Vec::new());
        let mut after = 0;
        loop {
            let links = self.store.list_audit_links(chain, after, 7).await?;
            let Some(last) = links.last() else { break };
            after = last.seq;
            for link in &links {
                verifier.push(link);
            }
        }
        Ok(verifier.finish(Some(self.store.audit_head(chain).await?)))
    }

    /// Seals until nothing waits.
    async fn seal_all(&self) -> Result<()> {
        while self.waiting().await? > 0 {
            // Another sealer may be at work, or have been quicker.
            match self.store.seal_audit(9).await {
                Ok(_) | Err(Error::Stale) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Both are stored or neither; what is no effect, and what changes nothing, is not told.
pub async fn an_entry_goes_with_its_effect_or_not_at_all(town: Town) -> Result<()> {
    let store = &town.store;
    let ada = town.newcomer("ada");
    audit::scope(town.scope(Chain::SYSTEM, "add"), store.add_user(ada.clone(), START)).await?;
    assert_eq!(town.waiting().await?, 1);
    let again = Registration { id: UserId(town.world.id()), ..ada.clone() };
    let scope = town.scope(Chain::SYSTEM, "add again");
    let refused = audit::scope(scope.clone(), store.add_user(again, START)).await;
    assert!(matches!(refused, Err(Error::Conflict(Conflict::UserEmail))), "{refused:?}");
    assert_eq!((town.waiting().await?, scope.has_written()), (1, false));

    audit::scope(town.scope(Chain::SYSTEM, "count"), store.hit("key", 1, throttle::LOGIN, START)).await?;
    assert_eq!(town.waiting().await?, 1, "counting is no effect");
    let scope = town.scope(Chain::SYSTEM, "end");
    let unknown = tradepost_domain::id::SessionId(town.world.id());
    assert!(!audit::scope(scope, store.end_session(ada.id, unknown, START)).await?);
    assert_eq!(town.waiting().await?, 1, "nothing was changed");

    let several = audit::scope(town.scope(Chain::SYSTEM, "several"), async {
        audit::about(Target::User, ada.id.0);
        store.set_operator(ada.id, true).await?;
        store.settle_user(ada.id, State::Pending, State::Active, None, START).await?;
        let eve = town.newcomer("eve");
        audit::about(Target::User, eve.id.0);
        store.add_user(eve, START).await
    });
    several.await?;
    assert_eq!(town.waiting().await?, 3, "one entry for each thing");

    town.seal_all().await?;
    let listed = store.list_audit_entries(AuditFilter::default(), first(10)).await?.rows;
    let ids: BTreeSet<_> = listed.iter().map(|listed| listed.entry.id).collect();
    assert_eq!((listed.len(), ids.len()), (3, 3));
    let about = AuditFilter { target: Some(ada.id.0), ..AuditFilter::default() };
    let listed = store.list_audit_entries(about, first(10)).await?.rows;
    assert_eq!(listed.iter().map(|listed| listed.entry.method.as_str()).collect::<Vec<_>>(), ["several"]);
    assert!(town.verdict(Chain::SYSTEM).await?.is_whole());
    Ok(())
}

/// Changes that are committed together each take their own entry, and a refused one takes none.
pub async fn grouped_changes_are_told_each_by_itself(town: Town) -> Result<()> {
    let seller = town.world.seller().await?;
    let chain = Chain(Some(seller.tenant.workspace));
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..60 {
        let listing = town.world.listing(seller.tenant).await?;
        let publication = town.world.new_publication(&seller.account, seller.agent.id, listing.id);
        let mut change = creation(&publication);
        let spoiled = n % 7 == 3;
        if spoiled {
            // A job that is nowhere cannot be changed.
            change.jobs.push(town.world.new_job(&seller.account, seller.agent.id));
        }
        let scope = town.scope(chain, "post");
        let store = town.store.clone();
        writes.spawn(async move {
            let done = audit::scope(scope.clone(), async {
                audit::about(Target::Posting, publication.posting.id.0);
                store.commit(change, at(5)).await
            });
            let answer = done.await;
            (publication.posting.id, spoiled, answer, scope.has_written())
        });
    }
    let mut posted = BTreeSet::new();
    while let Some(done) = writes.join_next().await {
        let (posting, spoiled, answer, told) = done?;
        ensure!(answer.is_err() == spoiled && told != spoiled, "{posting}: {answer:?}");
        if !spoiled {
            posted.insert(posting.0);
        }
    }
    town.seal_all().await?;
    let links = town.store.list_audit_links(chain, 0, 1_000).await?;
    let told: BTreeSet<_> = links.iter().filter_map(|link| link.entry.target_id).collect();
    assert_eq!((links.len(), told), (posted.len(), posted));
    assert!(town.verdict(chain).await?.is_whole());
    Ok(())
}

/// A hundred writers in several chains, and four sealers that get into each other's way.
pub async fn many_writers_and_sealers_leave_whole_chains(town: Town) -> Result<()> {
    let chains: Vec<Chain> =
        (0..3).map(|_| Chain(Some(WorkspaceId(town.world.id())))).chain([Chain::SYSTEM]).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100_usize {
        let (town, chain) = (town.clone(), chains[n % chains.len()]);
        tasks.spawn(async move {
            for m in 0..3 {
                let user = town.newcomer(&format!("user-{n}-{m}"));
                audit::scope(town.scope(chain, "add"), town.store.add_user(user, START)).await?;
            }
            anyhow::Ok(())
        });
    }
    for _ in 0..4 {
        let town = town.clone();
        tasks.spawn(async move {
            for _ in 0..40 {
                match town.store.seal_audit(5).await {
                    Ok(_) | Err(Error::Stale) => tokio::task::yield_now().await,
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    town.seal_all().await?;
    let mut heads = 0;
    for chain in chains {
        let verdict = town.verdict(chain).await?;
        assert!(verdict.is_whole(), "{verdict:?}");
        assert_eq!(verdict.read, 75, "{chain}");
        heads += verdict.head.count;
    }
    let listed = town.store.list_audit_heads(None, 10).await?;
    assert_eq!(listed.iter().map(|head| head.count).sum::<i64>(), heads);
    assert_eq!(town.store.list_audit_heads(Some(listed[1].chain), 10).await?, listed[2..]);
    Ok(())
}

/// Pages of entries with and without places hold each once.
pub async fn entries_are_listed_newest_first_and_filtered(town: Town) -> Result<()> {
    let ours = Chain(Some(WorkspaceId(town.world.id())));
    for n in 0..10_u64 {
        let chain = if n % 2 == 0 { ours } else { Chain::SYSTEM };
        let method =
            if n < 4 { "tradepost.v1.ListingService/CreateListing" } else { "controller/trust_begin" };
        let author = Author { at: at(n), ..town.author(chain, method) };
        town.store.add_audit_entry(author.entry(Outcome::Refused)).await?;
        if n == 5 {
            town.seal_all().await?;
        }
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = crate::PageRequest { limit: 3, after };
        let slice = town.store.list_audit_entries(AuditFilter::default(), page).await?;
        seen.extend(slice.rows.iter().map(|row| (row.entry.id, row.seq.is_some())));
        match slice.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 10);
    assert!(seen.is_sorted_by(|a, b| a.0 > b.0));
    assert_eq!(seen.iter().filter(|(_, sealed)| *sealed).count(), 6);
    let count = async |filter: AuditFilter| {
        anyhow::Ok(town.store.list_audit_entries(filter, first(50)).await?.rows.len())
    };
    let all = AuditFilter::default;
    assert_eq!(count(AuditFilter { chain: Some(ours), ..all() }).await?, 5);
    assert_eq!(count(AuditFilter { method: Some("CreateListing".into()), ..all() }).await?, 4);
    assert_eq!(count(AuditFilter { method: Some("Create".into()), ..all() }).await?, 0);
    assert_eq!(count(AuditFilter { since: Some(at(2)), until: Some(at(8)), ..all() }).await?, 6);
    assert_eq!(count(AuditFilter { actor: Some(town.world.id()), ..all() }).await?, 0);
    assert_eq!(town.store.audit_waiting(Some(ours)).await?.oldest, Some(at(6)));
    Ok(())
}
