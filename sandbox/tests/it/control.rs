//! The control API, and lists long enough to need it.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::Site;

#[tokio::test]
async fn wrong_instruction_is_refused_whole_and_names_the_mistake() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let before = site.control(json!({})).await;
    for (instruction, part) in [
        (json!({ "faults": { "reveiw": true } }), "reveiw"),
        (json!({ "fault": {} }), "fault"),
        (json!({ "account": "nobody@example.com", "faults": {} }), "nobody@example.com"),
        (json!({ "variant": { "after_publish": "moon" } }), "moon"),
        (json!({ "faults": { "review": true }, "seed": { "count": 0 } }), "count"),
    ] {
        let reply = site.browser().post("__control__", &instruction).await;
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
        let text = reply.text().await.expect("text");
        assert!(text.contains(part), "{text}");
        assert_eq!(site.control(json!({})).await, before, "{instruction}");
    }
    site.stop().await;
}

#[tokio::test]
async fn other_host_names_are_refused() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let browser = site.browser();
    assert_eq!(browser.get_as("localhost:80", "__ledger__").await, StatusCode::OK);
    assert_eq!(browser.get_as("attacker.example", "__ledger__").await, StatusCode::MISDIRECTED_REQUEST);
    site.stop().await;
}

#[tokio::test]
async fn long_list_comes_in_batches_and_can_be_searched() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    site.control(json!({ "account": "seller1@example.com", "seed": { "count": 30 } })).await;
    site.control(json!({ "account": "seller1@example.com", "seed": { "count": 2, "title": "Kettle" } }))
        .await;

    let (mut offset, mut ids) = (0, std::collections::BTreeSet::new());
    loop {
        let batch: Value =
            seller.get(&format!("api/selling?offset={offset}")).await.json().await.expect("JSON");
        assert_eq!(batch["total"], 32);
        ids.extend(batch["items"].as_array().expect("items").iter().map(|item| item["id"].to_string()));
        match batch["next"].as_u64() {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert_eq!(ids.len(), 32);
    let found: Value = seller.get("api/selling?q=kettle").await.json().await.expect("JSON");
    assert_eq!(found["total"], 2);
    assert_eq!(site.seller(2).await.own_titles().await.len(), 0);
    site.stop().await;
}

#[tokio::test]
async fn variant_changes_what_the_composer_is_given() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    let page = async || seller.get("marketplace/create/item").await.text().await.expect("a page");
    assert!(page().await.contains("Used – good"));
    let variant = json!({ "labels": "us", "currency": "NZD", "upload_ms": 0 });
    site.control(json!({ "account": "seller1@example.com", "variant": variant })).await;
    let changed = page().await;
    assert!(changed.contains("Used - Good") && changed.contains("NZD"));
    site.next(json!({ "rerender_clears_title": true })).await;
    assert!(page().await.contains(r#""rerender":true"#));
    assert!(page().await.contains(r#""rerender":false"#));
    site.control(json!({ "reset": true })).await;
    assert!(page().await.contains("GBP"));
    site.stop().await;
}

/// The answer of `GET /__control__` once its member `holding` is set.
async fn holding(site: &Site) -> Value {
    tradepost_testkit::wait::until("a request to be held", std::time::Duration::from_secs(20), || async {
        let standing = site.control(json!({})).await;
        if standing["holding"].is_null() { Err(standing.to_string()) } else { Ok(standing) }
    })
    .await
    .expect("held")
}

#[tokio::test]
async fn held_request_waits_and_is_carried_out_without_its_connection() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    let submissions = async || site.ledger().await["submissions"].as_array().map_or(0, Vec::len);

    let (first, second) = (seller.form("first").await, seller.form("second").await);

    // Done, and not answered.
    site.control(json!({ "hold": { "path": "/api/publish", "when": "after" } })).await;
    let answered = async {
        let answered = seller.post("api/publish", &first).await;
        assert_eq!(answered.status(), StatusCode::OK);
    };
    let released = async {
        assert_eq!(holding(&site).await["holding"]["path"], "/api/publish");
        assert_eq!(submissions().await, 1);
        let after = site.control(json!({ "release": true })).await;
        assert!(after["holding"].is_null() && after["hold"].is_null(), "{after}");
    };
    tokio::join!(answered, released);

    // Heard, and not done; then its sender goes away, and it is done nevertheless.
    site.control(json!({ "hold": { "path": "/api/publish", "when": "before" } })).await;
    tokio::select! {
        _ = seller.post("api/publish", &second) => panic!("answered while held"),
        _ = holding(&site) => {}
    }
    assert_eq!(submissions().await, 1);
    site.control(json!({ "release": true })).await;
    tradepost_testkit::wait::until(
        "the held request to be carried out",
        std::time::Duration::from_secs(20),
        || async {
            match submissions().await {
                2 => Ok(()),
                count => Err(format!("{count} submissions")),
            }
        },
    )
    .await
    .expect("carried out");
    site.stop().await;
}
