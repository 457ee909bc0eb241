//! Accounts, listings, photos and evidence.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tradepost_domain::account::Account;
use tradepost_domain::id::{ContentHash, EvidenceId, PhotoId, RunLease, Version};
use tradepost_domain::listing::Listing;
use tradepost_domain::photo::{MediaType, Photo};
use tradepost_domain::posting;

use super::world::{START, Seller, Tenant, World, at, creation, first, update};
use crate::{Conflict, Error, EvidenceFile, PageRequest};

/// The same id is the same thing; in another workspace it is a conflict.
pub async fn repeated_creation_returns_what_is_stored(world: World) -> Result<()> {
    let tenant = world.tenant().await?;
    let stranger = world.tenant().await?;
    let account = world.new_account(tenant, None)?;
    assert_eq!(world.store.add_account(account.clone()).await?, account);
    let feed = world.store.last_event(tenant.workspace).await?;
    let renamed = Account { name: String::from("renamed"), ..account.clone() };
    assert_eq!(world.store.add_account(renamed.clone()).await?, account);
    let foreign = Account { workspace: stranger.workspace, ..renamed };
    assert!(matches!(world.store.add_account(foreign).await, Err(Error::Conflict(Conflict::Id))));
    let same_name = Account { name: account.name.clone(), ..world.new_account(tenant, None)? };
    assert!(matches!(world.store.add_account(same_name).await, Err(Error::Conflict(Conflict::AccountName))));
    let elsewhere = Account { name: account.name.clone(), ..world.new_account(stranger, None)? };
    world.store.add_account(elsewhere).await?;
    assert_eq!(world.store.last_event(tenant.workspace).await?, feed, "nothing new was told");
    let listing = world.new_listing(tenant, START)?;
    assert_eq!(world.store.add_listing(listing.clone()).await?, listing);
    assert_eq!(world.store.add_listing(listing.clone()).await?, listing);
    let foreign = Listing { workspace: stranger.workspace, ..listing };
    assert!(matches!(world.store.add_listing(foreign).await, Err(Error::Conflict(Conflict::Id))));
    Ok(())
}

/// Compare-and-set, the photos' order, and the guard of deletion.
pub async fn a_listing_changes_at_its_version_only_and_is_not_deleted_under_a_posting(
    world: World,
) -> Result<()> {
    let seller = world.seller().await?;
    let (tenant, workspace) = (seller.tenant, seller.tenant.workspace);
    let (cover, back) = (photo(&world, tenant, b"cover").await?, photo(&world, tenant, b"back").await?);
    let mut listing = world.new_listing(tenant, START)?;
    listing.content.photos = vec![back.id, cover.id];
    world.store.add_listing(listing.clone()).await?;
    assert_eq!(world.store.find_listing(workspace, listing.id).await?, Some(listing.clone()));
    let mut content = listing.content.clone();
    content.photos = vec![cover.id, back.id];
    content.title = String::from("Stool");
    content.attributes.clear();
    let update_at =
        |version| world.store.update_listing(workspace, listing.id, content.clone(), version, at(1));
    assert!(matches!(update_at(Version(2)).await, Err(Error::Stale)));
    let changed = update_at(Version(1)).await?;
    assert_eq!((&changed.content, changed.version, changed.updated_at), (&content, Version(2), at(1)));
    assert_eq!(world.store.find_listing(workspace, listing.id).await?, Some(changed.clone()));
    let bare = world.store.add_listing(world.new_listing(tenant, at(1))?).await?;
    assert_eq!(world.store.list_listings(workspace, first(10)).await?.rows, [bare.clone(), changed]);
    world.store.delete_listing(workspace, bare.id, at(1)).await?;
    assert!(matches!(update_at(Version(1)).await, Err(Error::Stale)));
    let publication = world.new_publication(&seller.account, seller.agent.id, listing.id);
    world.store.commit(creation(&publication), START).await?;
    let refused = world.store.delete_listing(workspace, listing.id, at(2)).await;
    assert!(matches!(refused, Err(Error::Conflict(Conflict::PostingOpen))), "{refused:?}");
    assert!(world.store.find_listing(workspace, listing.id).await?.is_some());
    let mut settled = world.reload(&publication).await?;
    settled.posting.state = posting::State::NeedsHuman;
    world.store.commit(update(&settled), at(2)).await?;
    world.store.delete_listing(workspace, listing.id, at(3)).await?;
    assert_eq!(world.store.find_listing(workspace, listing.id).await?, None);
    assert_eq!(world.store.list_listings(workspace, first(10)).await?.rows, []);
    assert!(matches!(world.store.delete_listing(workspace, listing.id, at(3)).await, Err(Error::Stale)));
    assert!(matches!(update_at(Version(2)).await, Err(Error::Stale)));
    let other = world.account(tenant, seller.agent.id).await?;
    let late = world.new_publication(&other, seller.agent.id, listing.id);
    assert!(
        matches!(world.store.commit(creation(&late), at(4)).await, Err(Error::Stale)),
        "posted a deleted listing"
    );
    Ok(())
}

fn new_photo(world: &World, tenant: Tenant, content: &[u8]) -> Photo {
    Photo {
        id: PhotoId(world.id()),
        workspace: tenant.workspace,
        file_name: String::from("chair.png"),
        content: ContentHash::of(content),
        media_type: MediaType::Png,
        bytes: content.len() as u64,
        width: 64,
        height: 48,
        created_at: START,
    }
}

async fn photo(world: &World, tenant: Tenant, content: &[u8]) -> Result<Photo> {
    Ok(world.store.add_photo(new_photo(world, tenant, content), content.to_vec()).await?)
}

/// Photos by workspace and content, evidence by run, name and content.
pub async fn equal_contents_are_stored_once(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (tenant, workspace) = (seller.tenant, seller.tenant.workspace);
    let chair = photo(&world, tenant, b"chair").await?;
    assert_eq!(photo(&world, tenant, b"chair").await?, chair, "the first one");
    let stranger = world.tenant().await?;
    let theirs = photo(&world, stranger, b"chair").await?;
    assert_ne!(theirs.id, chair.id);
    assert_eq!(
        world.store.photo_content(stranger.workspace, theirs.id).await?.as_deref(),
        Some(&b"chair"[..])
    );
    let table = photo(&world, tenant, b"table").await?;
    let found =
        world.store.find_photos(workspace, &[table.id, PhotoId(world.id()), theirs.id, chair.id]).await?;
    assert_eq!(found, [table.clone(), chair.clone()]);
    let mut listing = world.new_listing(tenant, START)?;
    listing.content.photos = vec![chair.id];
    world.store.add_listing(listing.clone()).await?;
    let publication = world.new_publication(&seller.account, seller.agent.id, listing.id);
    world.store.commit(creation(&publication), START).await?;
    let job = publication.job.id;
    let content = world.store.job_photo_content(workspace, job, chair.content).await?;
    assert_eq!(content.as_deref(), Some(&b"chair"[..]));
    assert_eq!(
        world.store.job_photo_content(workspace, job, table.content).await?,
        None,
        "not of this listing"
    );
    evidence(&world, &world.seller().await?).await
}

async fn evidence(world: &World, seller: &Seller) -> Result<()> {
    let workspace = seller.tenant.workspace;
    let (publication, lease) = world.running(seller, START).await?;
    let file = |name: &str, run_lease: RunLease| EvidenceFile {
        id: EvidenceId(world.id()),
        workspace,
        job: publication.job.id,
        run_lease,
        name: name.to_owned(),
        media_type: String::from("image/png"),
        bytes: 5,
        content: ContentHash::of(b"chair"),
        created_at: at(1),
    };
    let agent = seller.agent.id;
    let before = world.store.add_evidence(agent, file("before.png", lease), b"chair".to_vec()).await?;
    let repeated = world.store.add_evidence(agent, file("before.png", lease), b"chair".to_vec()).await?;
    assert_eq!(repeated, before);
    let after = world.store.add_evidence(agent, file("after.png", lease), b"chair".to_vec()).await?;
    assert_eq!(world.store.list_evidence(workspace, publication.job.id).await?, [before.clone(), after]);
    assert_eq!(
        world.store.evidence_content(workspace, before.id).await?,
        Some((before.clone(), b"chair".to_vec()))
    );
    let future =
        world.store.add_evidence(agent, file("x.png", RunLease(lease.0 + 1)), b"chair".to_vec()).await;
    assert!(matches!(future, Err(Error::Stale)), "{future:?}");
    let stranger = world.agent(seller.tenant).await?;
    for name in ["before.png", "x.png"] {
        let foreign = world.store.add_evidence(stranger.id, file(name, lease), b"chair".to_vec()).await;
        assert!(matches!(foreign, Err(Error::Stale)), "{foreign:?}");
    }
    Ok(())
}

/// Reading on after the last row: rows that come meanwhile neither shift nor double what was there.
pub async fn pages_hold_every_row_once_while_others_insert(world: World) -> Result<()> {
    let tenant = world.tenant().await?;
    let mut wanted = BTreeMap::new();
    for n in 0..30_u64 {
        // Groups of equal times: the id decides.
        let listing = world.store.add_listing(world.new_listing(tenant, at(n / 4))?).await?;
        wanted.insert(listing.id, 0);
        world.store.add_account(world.new_account(tenant, None)?).await?;
    }
    let mut writers = JoinSet::new();
    for n in 0..30_u64 {
        let world = world.clone();
        writers.spawn(async move {
            world.store.add_listing(world.new_listing(tenant, at(n / 4))?).await?;
            let mut account = world.new_account(tenant, None)?;
            account.name = format!("account {:04}b", n * 7);
            world.store.add_account(account).await.map_err(anyhow::Error::from)
        });
    }
    let mut after = None;
    let mut last = None;
    loop {
        let page = world.store.list_listings(tenant.workspace, PageRequest { limit: 7, after }).await?;
        assert!(page.rows.len() == 7 || page.next.is_none());
        for listing in page.rows {
            let place = (listing.created_at, listing.id);
            assert!(last.is_none_or(|earlier| earlier > place), "out of order");
            last = Some(place);
            *wanted.entry(listing.id).or_default() += 1;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(wanted.values().all(|seen| *seen == 1), "{wanted:?}");
    while let Some(written) = writers.join_next().await {
        written??;
    }
    let mut names = Vec::new();
    let mut page = world.store.list_accounts(tenant.workspace, first(11)).await?;
    loop {
        names.extend(page.rows.into_iter().map(|account| account.name));
        let Some(next) = page.next else { break };
        let request = PageRequest { limit: 11, after: Some(next) };
        page = world.store.list_accounts(tenant.workspace, request).await?;
    }
    assert_eq!(names.len(), 60);
    assert!(names.is_sorted(), "{names:?}");
    let exact = world.store.list_accounts(tenant.workspace, first(60)).await?;
    assert_eq!((exact.rows.len(), exact.next), (60, None));
    exact.rows.first().context("no account")?;
    Ok(())
}
