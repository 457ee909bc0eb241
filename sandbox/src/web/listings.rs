//! What lists and item pages show, and what sellers do with their items.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::session::Seller;
use super::{Failure, Site, rfc3339};
use crate::model::{Item, Status};
use crate::world::World;

/// Cards a request; a page asks for more when its end comes into view.
const BATCH: usize = 12;

pub(crate) fn router() -> Router<Arc<Site>> {
    Router::new()
        .route("/api/browse", get(browse))
        .route("/api/selling", get(selling))
        .route("/api/items/{id}/sold", post(sold))
        .route("/api/items/{id}/delete", post(delete))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Search {
    q: String,
    offset: usize,
}

/// An item as `viewer` may see it.
pub(crate) fn view(world: &World, item: &Item, viewer: Option<&str>) -> Value {
    let Item { id, account, fields, photos, status, posted, visible: _ } = item;
    let own = viewer == Some(account.as_str());
    let photos: Vec<Value> = photos
        .iter()
        .map(|photo| json!({ "src": format!("/media/{}", photo.sha256), "width": photo.width, "height": photo.height }))
        .collect();
    json!({
        "id": id,
        "path": item.path(),
        "title": fields.title,
        "price": fields.price,
        "currency": fields.currency,
        "category": fields.category,
        "condition": fields.condition,
        "description": fields.description,
        "availability": fields.availability,
        "tags": fields.tags,
        "sku": own.then_some(&fields.sku),
        "location": fields.location,
        "meetup": fields.meetup,
        "groups": fields.groups,
        "attributes": fields.attributes,
        "status": status,
        "posted": rfc3339(*posted),
        "photos": photos,
        "own": own,
        "seller": world.account(account).map(|account| &account.name),
    })
}

fn batch<'a>(world: &World, items: impl Iterator<Item = &'a Item>, search: &Search, viewer: &str) -> Value {
    let words = search.q.to_lowercase();
    let hits: Vec<&Item> = items.filter(|item| item.fields.title.to_lowercase().contains(&words)).collect();
    let shown: Vec<Value> =
        hits.iter().skip(search.offset).take(BATCH).map(|item| view(world, item, Some(viewer))).collect();
    let next = search.offset + shown.len();
    json!({ "items": shown, "total": hits.len(), "next": (next < hits.len()).then_some(next) })
}

async fn browse(
    State(site): State<Arc<Site>>,
    Seller(account): Seller,
    Query(search): Query<Search>,
) -> Json<Value> {
    let world = site.world();
    Json(batch(&world, world.public_items(site.now()), &search, &account.email))
}

async fn selling(
    State(site): State<Arc<Site>>,
    Seller(account): Seller,
    Query(search): Query<Search>,
) -> Json<Value> {
    let world = site.world();
    Json(batch(&world, world.own_items(&account.email, site.now()), &search, &account.email))
}

async fn sold(
    State(site): State<Arc<Site>>,
    Seller(account): Seller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    change(&site, &account.email, &id, Status::Sold)
}

async fn delete(
    State(site): State<Arc<Site>>,
    Seller(account): Seller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    change(&site, &account.email, &id, Status::Deleted)
}

fn change(site: &Site, account: &str, id: &str, status: Status) -> Result<Json<Value>, Failure> {
    if site.world().set_status(account, id, status, site.now())? {
        return Ok(Json(json!({ "status": status })));
    }
    Err(Failure::new(StatusCode::NOT_FOUND, "You have no listing of that number."))
}
