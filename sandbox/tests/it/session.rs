//! Logging in, staying logged in, being logged out.

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::Site;

#[tokio::test]
async fn pages_lead_to_the_login_form_and_back() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let browser = site.browser();

    let page = browser.get("marketplace/create/item?step=audience").await;
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
    assert_eq!(page.headers()["location"], "/login?next=/marketplace/create/item%3Fstep%3Daudience");
    assert_eq!(browser.get("api/selling").await.status(), StatusCode::UNAUTHORIZED);

    let wrong = browser.log_in("seller1@example.com", "correct horse 2").await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(wrong.text().await.expect("a page").contains("email address or the password is wrong"));

    let right = browser.log_in("Seller1@Example.com ", "correct horse 1").await;
    assert_eq!(right.headers()["location"], "/marketplace/you/selling");
    let cookie = right.headers()["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.contains("Max-Age=5184000") && cookie.contains("HttpOnly"), "{cookie}");
    for path in ["marketplace/", "marketplace/create/", "marketplace/create/item", "marketplace/you/selling"]
    {
        let page = browser.get(path).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert!(page.text().await.expect("a page").contains("Maya Thompson"), "{path}");
    }
    assert_eq!(browser.post("logout", &json!({})).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(browser.get("api/selling").await.status(), StatusCode::UNAUTHORIZED);
    site.stop().await;
}

#[tokio::test]
async fn login_does_not_lead_to_another_site() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let seller = site.seller(1).await;
    for next in ["https://example.com/", "//example.com/", "/%5Cexample.com"] {
        let reply = seller.get(&format!("login?next={next}")).await;
        assert_eq!(reply.headers()["location"], "/marketplace/", "{next}");
    }
    site.stop().await;
}

#[tokio::test]
async fn called_for_logout_strikes_once_and_only_its_account() {
    let data = tempfile::tempdir().expect("folder");
    let site = Site::start(data.path()).await;
    let (first, second) = (site.seller(1).await, site.seller(2).await);
    site.next(json!({ "logout_now": true })).await;
    assert_eq!(second.get("api/selling").await.status(), StatusCode::OK);
    assert_eq!(first.get("api/selling").await.status(), StatusCode::UNAUTHORIZED);
    let again = site.seller(1).await;
    assert_eq!(again.get("api/selling").await.status(), StatusCode::OK);
    site.stop().await;
}
