//! The pages. Each is the same shell with a script and the data that it shows.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Site;
use super::listings::view;
use super::session::{Seller, Visitor};
use crate::account::Account;
use crate::catalog;
use crate::control::Group;
use crate::world::{PHOTO_LIMIT, TITLE_LIMIT};

pub(crate) fn router() -> Router<Arc<Site>> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/marketplace/") }))
        .route("/marketplace", get(browse))
        .route("/marketplace/", get(browse))
        .route("/marketplace/create", get(chooser))
        .route("/marketplace/create/", get(chooser))
        .route("/marketplace/create/item", get(composer))
        .route("/marketplace/create/item/", get(composer))
        .route("/marketplace/you/selling", get(selling))
        .route("/marketplace/you/selling/", get(selling))
        .route("/marketplace/item/{id}", get(item))
        .route("/marketplace/item/{id}/", get(item))
        .route("/commerce/listing/{id}", get(review))
        .route("/commerce/listing/{id}/", get(review))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resume {
    draft: String,
}

/// Who is logged in, as pages show it.
fn person(account: Option<&Account>) -> Value {
    account.map_or(
        Value::Null,
        |account| json!({ "name": account.name, "email": account.email, "home": account.home }),
    )
}

fn page(site: &Site, title: &str, script: &str, boot: &Value) -> Response {
    Html(site.assets.page(title, script, boot)).into_response()
}

async fn browse(State(site): State<Arc<Site>>, Seller(account): Seller) -> Response {
    page(&site, "Marketplace", "browse.js", &json!({ "account": person(Some(&account)) }))
}

async fn chooser(State(site): State<Arc<Site>>, Seller(account): Seller) -> Response {
    page(&site, "Create new listing", "chooser.js", &json!({ "account": person(Some(&account)) }))
}

async fn composer(
    State(site): State<Arc<Site>>,
    Seller(account): Seller,
    Query(resume): Query<Resume>,
) -> Response {
    let mut world = site.world();
    let variant = world.control.variant(&account);
    let faults = world.control.take(&account.email, Group::Composer);
    let draft = world.draft(&account.email, &resume.draft).cloned();
    drop(world);
    let boot = json!({
        "account": person(Some(&account)),
        "categories": catalog::CATEGORIES,
        "conditions": catalog::conditions(variant.labels),
        "meetups": catalog::meetups(variant.labels),
        "groups": catalog::GROUPS,
        "limits": { "title": TITLE_LIMIT, "photos": PHOTO_LIMIT },
        "rerender": faults.rerender_clears_title,
        "variant": variant,
        "draft": draft,
    });
    page(&site, "Create new listing", "composer.js", &boot)
}

async fn selling(State(site): State<Arc<Site>>, Seller(account): Seller) -> Response {
    let world = site.world();
    let boot = json!({
        "account": person(Some(&account)),
        "variant": world.control.variant(&account),
        "drafts": world.drafts(&account.email),
    });
    drop(world);
    page(&site, "Your listings", "selling.js", &boot)
}

async fn item(State(site): State<Arc<Site>>, visitor: Visitor, Path(id): Path<String>) -> Response {
    show(&site, visitor, &id, "/marketplace/item/")
}

async fn review(State(site): State<Arc<Site>>, visitor: Visitor, Path(id): Path<String>) -> Response {
    show(&site, visitor, &id, "/commerce/listing/")
}

fn show(site: &Site, Visitor(account): Visitor, id: &str, below: &str) -> Response {
    let world = site.world();
    let viewer = account.as_ref().map(|account| account.email.as_str());
    let found = world.visible_item(id, viewer, site.now());
    // An item has one address at a time: public, or the one for its review.
    let Some(item) = found.filter(|item| item.path().starts_with(below)) else {
        drop(world);
        return unavailable(site, account.as_ref(), "This listing isn't available any more");
    };
    let boot = json!({ "account": person(account.as_ref()), "item": view(&world, item, viewer) });
    let title = item.fields.title.clone();
    drop(world);
    page(site, &title, "item.js", &boot)
}

fn unavailable(site: &Site, account: Option<&Account>, heading: &str) -> Response {
    let boot = json!({ "account": person(account), "heading": heading });
    (StatusCode::NOT_FOUND, page(site, "Not available", "missing.js", &boot)).into_response()
}

/// Any address that does not exist.
pub(crate) async fn missing(State(site): State<Arc<Site>>, Visitor(account): Visitor) -> Response {
    unavailable(&site, account.as_ref(), "This page isn't available")
}
