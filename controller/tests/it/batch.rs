//! Many postings with one call: all or none, and repeatable.

use anyhow::Result;
use tonic::{Code, Status};
use tradepost_proto::v1;
use tradepost_testkit::TestDatabase;

use crate::agent::Agent;
use crate::system::{System, User, fields, reason};

fn asked(request: &str, listing: &str, account: &str) -> v1::CreatePostingRequest {
    v1::CreatePostingRequest {
        request_id: request.into(),
        listing_id: listing.into(),
        account_id: account.into(),
        priority: 0,
        again: false,
    }
}

async fn ask(user: &User, requests: Vec<v1::CreatePostingRequest>) -> Result<Vec<v1::Posting>, Status> {
    let request = user.request(v1::BatchCreatePostingsRequest { requests });
    Ok(user.postings().batch_create_postings(request).await?.into_inner().postings)
}

async fn count(user: &User) -> Result<usize> {
    let request =
        user.request(v1::ListPostingsRequest { page_size: 100, ..v1::ListPostingsRequest::default() });
    Ok(user.postings().list_postings(request).await?.into_inner().postings.len())
}

async fn all_or_none(database: TestDatabase) -> Result<()> {
    let system = System::start_on(database).await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let account = user.account("shop", &agent.id).await?.id;
    let (one, two) = (user.listing("Drill one").await?.id, user.listing("Drill two").await?.id);

    let nowhere = uuid::Uuid::from_u128(9).to_string();
    let refused = ask(&user, vec![asked("a", &one, &account), asked("b", &nowhere, &account)]).await;
    let refused = refused.expect_err("one listing is absent");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "LISTING_NOT_FOUND"));
    assert!(refused.message().starts_with("requests[1]: "), "{}", refused.message());
    let refused = ask(&user, vec![asked("a", &one, &account), asked("b", "x", &account)]).await;
    assert_eq!(fields(&refused.expect_err("no id")), ["requests[1].listing_id"]);
    let refused = ask(&user, vec![asked("a", &one, &account), asked("a", &two, &account)]).await;
    assert_eq!(fields(&refused.expect_err("one name twice")), ["requests[1].request_id"]);
    assert_eq!(fields(&ask(&user, Vec::new()).await.expect_err("nothing")), ["requests"]);
    // The same listing twice on one account: a unique rule refuses both.
    let refused = ask(&user, vec![asked("a", &one, &account), asked("b", &one, &account)]).await;
    assert_eq!(reason(&refused.expect_err("twice")), "POSTING_OPEN");
    assert_eq!(count(&user).await?, 0, "something was made by a refused call");

    let made = ask(&user, vec![asked("a", &one, &account), asked("b", &two, &account)]).await?;
    assert_eq!(made.iter().map(|posting| &posting.listing_id).collect::<Vec<_>>(), [&one, &two]);
    assert!(made.iter().all(|posting| !posting.waiting_for.is_empty()), "{made:?}");
    let again = ask(&user, vec![asked("a", &one, &account), asked("b", &two, &account)]).await?;
    let ids =
        |postings: &[v1::Posting]| postings.iter().map(|posting| posting.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&made), ids(&again));
    assert_eq!(user.post("a", &one, &account).await?.id, made[0].id, "a single call of the same name");
    assert_eq!(count(&user).await?, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_postings_are_made_or_none_on_sqlite() -> Result<()> {
    all_or_none(TestDatabase::sqlite()?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_postings_are_made_or_none_on_postgresql() -> Result<()> {
    all_or_none(TestDatabase::empty_postgres().await?).await
}
