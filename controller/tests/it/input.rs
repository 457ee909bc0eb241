//! Wrong input ends in one answer that names everything.

use anyhow::Result;
use tonic::Code;
use tradepost_proto::v1;
use tradepost_testkit::photos;
use v1::listing_service_client::ListingServiceClient;

use crate::agent::Agent;
use crate::system::{System, content, fields, reason};

#[tokio::test]
async fn every_wrong_field_is_named_at_once() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let mut listings = ListingServiceClient::new(user.channel.clone());
    let request = user.request(v1::CreateListingRequest { request_id: "a b".into(), content: None });
    let refused = listings.create_listing(request).await.expect_err("nothing is right");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
    for field in ["request_id", "title", "price", "category", "condition", "location"] {
        assert_eq!(
            fields(&refused).iter().filter(|named| *named == field).count(),
            1,
            "{field} in {refused:?}"
        );
    }
    let strange = v1::ListingContent { photo_ids: vec![uuid::Uuid::nil().to_string()], ..content() };
    let request = user.request(v1::CreateListingRequest { request_id: "x".into(), content: Some(strange) });
    let refused = listings.create_listing(request).await.expect_err("no such photo");
    assert_eq!(fields(&refused), ["photos[0]"]);
    Ok(())
}

#[tokio::test]
async fn every_objection_of_the_site_is_named_at_once() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let account = user.account("shop", &agent.id).await?;
    let unfit = v1::ListingContent {
        title: "x".repeat(140),
        category: "Spaceships".into(),
        price: Some(v1::Money { minor_units: 100, currency_code: "USD".into() }),
        ..content()
    };
    let request = user.request(v1::CreateListingRequest { request_id: "x".into(), content: Some(unfit) });
    let listing = ListingServiceClient::new(user.channel.clone()).create_listing(request).await?.into_inner();
    let listing = listing.listing.unwrap_or_default();
    let refused = user.post("p1", &listing.id, &account.id).await.expect_err("unfit");
    assert_eq!(reason(&refused), "LISTING_UNFIT");
    for field in ["title", "category", "price", "photos"] {
        assert!(fields(&refused).iter().any(|named| named == field), "{field} in {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_listing_that_was_made_unfit_while_it_waited_is_never_dispatched() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let account = user.account("shop", &agent.id).await?;
    let listing = user.listing("Drill").await?;
    let posting = user.post("p1", &listing.id, &account.id).await?;
    let unfit = v1::ListingContent {
        title: "x".repeat(140),
        category: "Spaceships".into(),
        ..listing.content.unwrap_or_default()
    };
    let request = user.request(v1::UpdateListingRequest {
        id: listing.id.clone(),
        content: Some(unfit),
        etag: listing.etag.clone(),
    });
    ListingServiceClient::new(user.channel.clone()).update_listing(request).await?;
    let _stream = agent.attach(&system, &[]).await?;
    let failed = user.reaches(&posting.id, v1::PostingState::Failed).await?;
    let failure = failed.failure.unwrap_or_default();
    assert_eq!(failure.class, "listing_rejected");
    for field in ["title", "category"] {
        assert!(failure.message.contains(field), "{field} in {failure:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_finding_names_a_listing_on_the_accounts_site() -> Result<()> {
    use v1::resolve_posting_request::Finding;
    let system = System::start().await?;
    let user = system.user().await?;
    let agent = Agent::enrol(&system, &user).await?;
    let account = user.account("shop", &agent.id).await?;
    let listing = user.listing("Drill").await?;
    let posting = user.post("p1", &listing.id, &account.id).await?;
    let resolve = async |item_id: &str, url: &str| {
        let item = v1::PublishedItem { item_id: item_id.into(), url: url.into(), strategy: String::new() };
        let finding = Some(Finding::Published(item));
        let request = user.request(v1::ResolvePostingRequest { id: posting.id.clone(), finding });
        user.postings().resolve_posting(request).await.expect_err("it is not uncertain")
    };
    let refused = resolve(" ", "nonsense").await;
    assert_eq!(fields(&refused), ["item.item_id", "item.url"], "{refused:?}");
    for url in ["http://example.com/item/5", "javascript:alert(1)", "https://127.0.0.1:9/item/5", ""] {
        assert_eq!(fields(&resolve("5", url).await), ["item.url"], "{url}");
    }
    assert_eq!(reason(&resolve("5", "http://127.0.0.1:9/item/5").await), "WRONG_STATE");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_picture_is_refused_by_name() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let whole = photos::jpeg(3);
    for content in [Vec::new(), b"text".to_vec(), whole[..whole.len() / 8].to_vec()] {
        let refused = user.photo(content).await.expect_err("no picture");
        assert_eq!(reason(&refused), "INVALID_PHOTO");
        assert!(refused.message().contains("front.jpg"), "{}", refused.message());
    }
    let once = user.photo(whole.clone()).await?;
    assert_eq!(user.photo(whole).await?.id, once.id, "equal content is kept once");
    Ok(())
}

#[tokio::test]
async fn pages_hold_every_row_once_and_tokens_keep_to_their_filters() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    for n in 0..5 {
        user.listing(&format!("Drill {n}")).await?;
    }
    let mut listings = ListingServiceClient::new(user.channel.clone());
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = user.request(v1::ListListingsRequest { page_size: 2, page_token: token.clone() });
        let page = listings.list_listings(request).await?.into_inner();
        seen.extend(page.listings.into_iter().map(|listing| listing.id));
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let request = user.request(v1::ListPostingsRequest { page_token: token, ..Default::default() });
    let refused = user.postings().list_postings(request).await.expect_err("a token of another list");
    assert_eq!(reason(&refused), "INVALID_PAGE_TOKEN");
    Ok(())
}
