//! Publish, its faults, and what the ledger says about them.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Site, fields, png};

#[tokio::test]
async fn published_listing_has_every_field_and_the_photos_in_order() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    let mut photos = Vec::new();
    for number in [7, 3, 9] {
        photos.push(seller.picture(number).await);
    }
    let form = json!({ "click": "a", "fields": fields(), "photos": photos });
    let reply = seller.post("api/publish", &form).await;
    assert_eq!(reply.status(), StatusCode::OK);
    let reply: Value = reply.json().await.expect("JSON");
    assert_eq!(reply["goes_to"], "/marketplace/you/selling");
    let id = reply["id"].as_str().expect("an id");
    assert!(id.len() == 16 && id.parse::<u64>().is_ok(), "{id}");

    let ledger = site.ledger().await;
    let (submission, item) = (&ledger["submissions"][0], &ledger["items"][0]);
    let mut expected = fields();
    expected["currency"] = "GBP".into();
    assert_eq!(submission["fields"], expected);
    assert_eq!(item["fields"], expected);
    assert_eq!(item["id"], id);
    let widths: Vec<u64> =
        item["photos"].as_array().expect("photos").iter().filter_map(|p| p["width"].as_u64()).collect();
    assert_eq!(widths, [7, 3, 9]);
    let stored = seller.get(&format!("media/{}", photos[1]["sha256"].as_str().expect("a hash"))).await;
    assert_eq!(stored.headers()["content-type"], "image/png");
    assert_eq!(stored.bytes().await.expect("bytes"), png(3));

    let page = seller.get(&format!("marketplace/item/{id}/")).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.expect("a page").contains("K-1"), "the seller sees the SKU");
    let other = site.seller(2).await.get(&format!("marketplace/item/{id}/")).await;
    let other = other.text().await.expect("a page");
    assert!(other.contains("Whistles") && !other.contains("K-1"), "nobody else sees the SKU");
    site.stop().await;
}

#[tokio::test]
async fn second_click_makes_a_second_listing_but_the_browsers_own_repetition_does_not() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    let form = seller.form("first").await;
    seller.post("api/publish", &form).await;
    seller.post("api/publish", &form).await;
    let mut again = form;
    again["click"] = "second".into();
    seller.post("api/publish", &again).await;

    let ledger = site.ledger().await;
    let repeats: Vec<&Value> =
        ledger["submissions"].as_array().expect("a list").iter().map(|s| &s["repeats"]).collect();
    assert_eq!(repeats, [&Value::Null, &json!(1), &Value::Null]);
    assert_eq!(ledger["items"].as_array().map(Vec::len), Some(2));
    site.stop().await;
}

#[tokio::test]
async fn each_fault_does_to_item_and_reply_what_its_name_says() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    // Fault, status of the reply (none: the connection was cut), outcome and reply in the ledger, whether an item exists.
    let cases = [
        (json!({ "accept_then_drop": true }), None, "published", "nothing", true),
        (json!({ "error_after_commit": true }), Some(500), "published", "error", true),
        (json!({ "error_before_commit": true }), Some(500), "failed", "error", false),
        (json!({ "reject": "No kettles today." }), Some(422), "rejected", "truth", false),
        (json!({ "limit_reached": true }), Some(429), "limited", "truth", false),
        (json!({ "review": true }), Some(200), "in_review", "truth", true),
        (json!({ "review": true, "accept_then_drop": true }), None, "in_review", "nothing", true),
    ];
    for (number, (fault, status, outcome, told, exists)) in cases.into_iter().enumerate() {
        site.next(fault.clone()).await;
        let form = seller.form(&format!("click {number}")).await;
        let reply = seller.try_post("api/publish", &form).await;
        assert_eq!(reply.as_ref().ok().map(|reply| reply.status().as_u16()), status, "{fault}");
        let ledger = site.ledger().await;
        let submission = &ledger["submissions"][number];
        assert_eq!(
            (&submission["outcome"], &submission["reply"]),
            (&json!(outcome), &json!(told)),
            "{fault}"
        );
        assert_eq!(submission["item"].is_string(), exists, "{fault}");
        let names: Vec<String> = serde_json::from_value(submission["faults"].clone()).expect("names");
        assert_eq!(names.len(), fault.as_object().map_or(0, serde_json::Map::len), "{fault}");
        if let (Some(message), Ok(reply)) = (fault["reject"].as_str(), reply) {
            assert_eq!(reply.json::<Value>().await.expect("JSON")["error"], message);
        }
    }
    let form = seller.form("after all").await;
    assert_eq!(seller.post("api/publish", &form).await.status(), StatusCode::OK, "a next fault strikes once");
    site.stop().await;
}

#[tokio::test]
async fn reviewed_listing_has_another_address_until_it_is_released() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let (seller, other) = (site.seller(1).await, site.seller(2).await);
    site.next(json!({ "review": true })).await;
    let reply: Value = seller.post("api/publish", &seller.form("a").await).await.json().await.expect("JSON");
    let id = reply["id"].as_str().expect("an id");
    let (public, review) = (format!("marketplace/item/{id}/"), format!("commerce/listing/{id}/"));
    assert_eq!(seller.get(&public).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(seller.get(&review).await.status(), StatusCode::OK);
    assert_eq!(other.get(&review).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(seller.own_titles().await, ["Kettle"]);

    site.control(json!({ "release_reviews": true })).await;
    assert_eq!(other.get(&public).await.status(), StatusCode::OK);
    assert_eq!(seller.get(&review).await.status(), StatusCode::NOT_FOUND);
    site.stop().await;
}

#[tokio::test]
async fn delayed_listing_is_true_before_it_is_visible() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    site.next(json!({ "delayed_visibility_ms": 3_600_000 })).await;
    let reply: Value = seller.post("api/publish", &seller.form("a").await).await.json().await.expect("JSON");
    assert!(seller.own_titles().await.is_empty());
    let page = seller.get(&format!("marketplace/item/{}/", reply["id"].as_str().expect("an id"))).await;
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    assert_eq!(site.ledger().await["items"][0]["visible"], false);
    site.stop().await;
}

#[tokio::test]
async fn slow_publish_stores_long_before_it_answers() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    site.next(json!({ "slow_publish_ms": 600_000 })).await;
    let form = seller.form("a").await;
    let slow = seller.post("api/publish", &form);
    let stored = async {
        while site.ledger().await["items"].as_array().is_none_or(Vec::is_empty) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = slow => panic!("answered at once"),
        stored = tokio::time::timeout(Duration::from_secs(20), stored) => stored.expect("stored while the reply is awaited"),
    }
}

#[tokio::test]
async fn incomplete_form_is_refused_with_its_first_fault_and_recorded() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    let complete = seller.form("").await;
    for (number, (field, value, message)) in [
        ("title", json!("  "), "valid title"),
        ("title", json!("x".repeat(101)), "valid title"),
        ("price", json!("abc"), "Enter a price"),
        ("category", json!("Kettles"), "select a category"),
        ("condition", json!(""), "select a condition"),
        ("location", json!("Lond"), "valid location"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut form = complete.clone();
        form["click"] = number.to_string().into();
        form["fields"][field] = value;
        let reply = seller.post("api/publish", &form).await;
        assert_eq!(reply.status(), StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        let text = reply.text().await.expect("text");
        assert!(text.contains(message), "{field}: {text}");
    }
    let mut without = complete;
    without["photos"] = json!([]);
    assert!(
        seller.post("api/publish", &without).await.text().await.expect("text").contains("at least one photo")
    );
    let ledger = site.ledger().await;
    assert_eq!(ledger["submissions"].as_array().map(Vec::len), Some(7));
    assert_eq!(ledger["items"], json!([]));
    site.stop().await;
}

#[tokio::test]
async fn upload_refuses_what_is_no_photo_and_fails_when_told() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    for (name, content) in [("empty.jpg", Vec::new()), ("text.jpg", b"not a photo".to_vec())] {
        let reply = seller.upload(name, content).await;
        assert_eq!(reply.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(reply.text().await.expect("text").contains(name));
    }
    site.next(json!({ "photo_fail": 2 })).await;
    let mut statuses = Vec::new();
    for number in 1..=3 {
        statuses.push(seller.upload("a.png", png(number)).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 503, 200]);
    site.stop().await;
}

#[tokio::test]
async fn restart_finds_items_sessions_photos_and_drafts_again() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    let photo = seller.picture(5).await;
    let reply: Value = seller.post("api/publish", &seller.form("a").await).await.json().await.expect("JSON");
    seller.post("api/publish", &seller.form("b").await).await;
    let sold = format!("api/items/{}/sold", reply["id"].as_str().expect("an id"));
    assert_eq!(seller.post(&sold, &json!({})).await.status(), StatusCode::OK);
    seller.post("api/drafts", &json!({ "form": { "title": "Later" } })).await;
    let before = site.ledger().await;
    site.stop().await;

    // A crash in the middle of a write leaves a part of a line.
    let ledger = data.path().join("ledger.jsonl");
    let mut content = std::fs::read(&ledger).expect("reads");
    content.extend_from_slice(br#"{"kind":"submitted","submission":{"seq":3"#);
    std::fs::write(&ledger, content).expect("writes");

    let site = Site::start(data.path()).await;
    // Sign-ins are counted from the start.
    let after = site.ledger().await;
    assert_eq!((&after["submissions"], &after["items"]), (&before["submissions"], &before["items"]));
    assert_eq!(before["items"][0]["status"], "sold");
    let again = site.seller(1).await;
    let form = json!({ "click": "c", "fields": fields(), "photos": [photo] });
    assert_eq!(
        again.post("api/publish", &form).await.status(),
        StatusCode::OK,
        "an old photo can still be used"
    );
    let page = again.get("marketplace/you/selling").await.text().await.expect("a page");
    assert!(page.contains("Later"), "the draft is there");
    site.stop().await;
}
