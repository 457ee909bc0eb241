//! Workspaces are apart.

use anyhow::Result;
use tradepost_domain::id::{ContentHash, EvidenceId, PhotoId, Version};
use tradepost_domain::photo::{MediaType, Photo};

use super::world::{START, World, at, first, update};
use crate::{Error, EvidenceFile, JobFilter, PostingFilter};

/// Every method that takes a workspace and an id, with an id of another workspace.
pub async fn another_workspace_sees_nothing(world: World) -> Result<()> {
    let seller = world.seller().await?;
    let (ours, store) = (seller.tenant.workspace, &world.store);
    let theirs = world.tenant().await?.workspace;
    let (publication, lease) = world.running(&seller, START).await?;
    let (job, posting) = (publication.job.id, publication.posting.id);
    let photo = Photo {
        id: PhotoId(world.id()),
        workspace: ours,
        file_name: String::from("chair.jpg"),
        content: ContentHash::of(b"chair"),
        media_type: MediaType::Jpeg,
        bytes: 5,
        width: 64,
        height: 64,
        created_at: START,
    };
    store.add_photo(photo.clone(), b"chair".to_vec()).await?;
    let file = EvidenceFile {
        id: EvidenceId(world.id()),
        workspace: ours,
        job,
        run_lease: lease,
        name: String::from("a.png"),
        media_type: String::from("image/png"),
        bytes: 5,
        content: ContentHash::of(b"chair"),
        created_at: START,
    };
    store.add_evidence(seller.agent.id, file.clone(), b"chair".to_vec()).await?;
    let listing = publication.posting.listing;

    assert_eq!(store.find_account(theirs, seller.account.id).await?, None);
    assert_eq!(store.list_accounts(theirs, first(9)).await?.rows, []);
    assert_eq!(store.find_listing(theirs, listing).await?, None);
    assert_eq!(store.list_listings(theirs, first(9)).await?.rows, []);
    assert_eq!(store.find_photo(theirs, photo.id).await?, None);
    assert_eq!(store.find_photos(theirs, &[photo.id]).await?, []);
    assert_eq!(store.photo_content(theirs, photo.id).await?, None);
    assert_eq!(store.job_photo_content(theirs, job, photo.content).await?, None);
    assert_eq!(store.list_agents(theirs, first(9)).await?.rows, []);
    assert_eq!(store.revoke_agent(theirs, seller.agent.id, at(1)).await?, None);
    assert_eq!(store.find_job(theirs, job).await?, None);
    assert_eq!(store.list_steps(theirs, job).await?, []);
    assert_eq!(store.find_publication(theirs, posting).await?, None);
    assert_eq!(store.find_posting(theirs, posting).await?, None);
    assert_eq!(store.find_receipt(theirs, posting).await?, None);
    assert_eq!(store.list_evidence(theirs, job).await?, []);
    assert_eq!(store.evidence_content(theirs, file.id).await?, None);
    let account = Some(seller.account.id);
    for account in [None, account] {
        let filter = JobFilter { state: None, account, dead_letters: false };
        assert_eq!(store.list_jobs(theirs, filter, first(9)).await?.rows, []);
        let filter = PostingFilter { state: None, account };
        assert_eq!(store.list_postings(theirs, filter, first(9)).await?.rows, []);
    }
    let told = store.list_events(theirs, 0, None, 9).await?;
    assert_eq!((told, store.list_events(theirs, 0, Some(posting), 9).await?), (Vec::new(), Vec::new()));

    let bound = store.bind_account(theirs, seller.account.id, seller.agent.id, Version(1), at(1)).await;
    assert!(matches!(bound, Err(Error::Stale)));
    let content = world.new_listing(seller.tenant, START)?.content;
    let changed = store.update_listing(theirs, listing, content, Version(1), at(1)).await;
    assert!(matches!(changed, Err(Error::Stale)));
    assert!(matches!(store.delete_listing(theirs, listing, at(1)).await, Err(Error::Stale)));
    let mut stolen = publication.clone();
    stolen.posting.workspace = theirs;
    stolen.job.workspace = theirs;
    stolen.intent.workspace = theirs;
    assert!(matches!(store.commit(update(&stolen), at(1)).await, Err(Error::Stale)));
    let mut foreign = world.new_listing(world.tenant().await?, START)?;
    foreign.content.photos = vec![photo.id];
    assert!(matches!(store.add_listing(foreign).await, Err(Error::Stale)), "took another workspace's photo");
    assert_eq!(world.reload(&publication).await?, publication);
    Ok(())
}
