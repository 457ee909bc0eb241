//! What the composer asks for: places, uploads, drafts, and Publish with its faults.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Multipart, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::session::Seller;
use super::{Failure, Site};
use crate::catalog;
use crate::connection::Connection;
use crate::control::AfterPublish;
use crate::model::{Draft, Fields, Item, ItemId, Outcome, Photo, Reply, Status, Submission};
use crate::photos::Refused;
use crate::world::Click;

pub(crate) fn router() -> Router<Arc<Site>> {
    Router::new()
        .route("/api/places", get(places))
        .route("/api/photos", post(upload))
        .route("/api/publish", post(publish))
        .route("/api/drafts", post(save_draft))
        .route("/api/drafts/{id}", delete(delete_draft))
}

#[derive(Debug, Deserialize)]
struct Typed {
    q: String,
}

#[derive(Debug, Deserialize)]
struct Submitted {
    click: String,
    fields: Fields,
    photos: Vec<SubmittedPhoto>,
}

#[derive(Debug, Deserialize)]
struct SubmittedPhoto {
    sha256: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct PutAside {
    id: Option<String>,
    form: Value,
}

async fn places(_seller: Seller, Query(Typed { q }): Query<Typed>) -> Json<Value> {
    Json(json!({ "places": catalog::suggest(&q) }))
}

async fn upload(
    State(site): State<Arc<Site>>,
    Seller(account): Seller,
    mut form: Multipart,
) -> Result<Json<Photo>, Failure> {
    let bad =
        |error: axum::extract::multipart::MultipartError| Failure::new(error.status(), error.body_text());
    let Some(field) = form.next_field().await.map_err(bad)? else {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "There is no photo in the request."));
    };
    let name = field.file_name().unwrap_or("photo").to_owned();
    let content = field.bytes().await.map_err(bad)?;
    let (variant, fails) = {
        let mut world = site.world();
        (world.control.variant(&account), world.control.take_photo_failure(&account.email))
    };
    tokio::time::sleep(Duration::from_millis(variant.upload_ms)).await;
    if fails {
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{name} couldn't be uploaded. Please try again."),
        ));
    }
    let at = site.clone();
    let photo = tokio::task::spawn_blocking(move || at.photos.store(&name, &content))
        .await
        .map_err(|error| Failure::internal(&error))?
        .map_err(|refused| match refused {
            Refused::Empty(_) | Refused::Format(_) => {
                Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, refused.to_string())
            }
            Refused::Disk(_) => Failure::internal(&refused),
        })?;
    site.world().add_photo(photo.clone())?;
    Ok(Json(photo))
}

async fn publish(
    State(site): State<Arc<Site>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Seller(account): Seller,
    Json(Submitted { click, fields, photos }): Json<Submitted>,
) -> Result<Response, Failure> {
    let photos = photos.into_iter().map(|SubmittedPhoto { sha256, name }| (sha256, name)).collect();
    let id = ItemId(site.number(16));
    let (submission, faults, after) = {
        let mut world = site.world();
        let after = world.control.variant(&account).after_publish;
        let (submission, faults) =
            world.publish(&account, Click { click, fields, photos }, id, site.now())?;
        (submission, faults, after)
    };
    tokio::time::sleep(Duration::from_millis(faults.slow_publish_ms)).await;
    match submission.reply {
        Reply::Nothing => {
            connection.cut();
            Ok(StatusCode::OK.into_response())
        }
        Reply::Error => Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "Something isn't working.")),
        Reply::Truth => Ok(answer(&submission, after)),
    }
}

fn answer(submission: &Submission, after: AfterPublish) -> Response {
    let refused = |status: StatusCode, kind: &str| {
        (status, Json(json!({ "refused": kind, "error": submission.message }))).into_response()
    };
    match (submission.outcome, &submission.item) {
        (Outcome::Published | Outcome::InReview, Some(item)) => {
            let goes_to = match after {
                AfterPublish::Selling => Some("/marketplace/you/selling".to_owned()),
                AfterPublish::Item if submission.outcome == Outcome::InReview => {
                    Some(format!("/commerce/listing/{item}/"))
                }
                AfterPublish::Item => Some(format!("/marketplace/item/{item}/")),
                AfterPublish::Stay => None,
            };
            Json(json!({ "id": item, "goes_to": goes_to })).into_response()
        }
        (Outcome::Limited, _) => refused(StatusCode::TOO_MANY_REQUESTS, "limit"),
        _ => refused(StatusCode::UNPROCESSABLE_ENTITY, "form"),
    }
}

async fn save_draft(
    State(site): State<Arc<Site>>,
    Seller(account): Seller,
    Json(PutAside { id, form }): Json<PutAside>,
) -> Result<Json<Value>, Failure> {
    let id = id.unwrap_or_else(|| site.number(16));
    let draft = Draft { id: id.clone(), account: account.email, saved: site.now(), form };
    if site.world().save_draft(draft)? {
        return Ok(Json(json!({ "id": id })));
    }
    Err(Failure::new(StatusCode::NOT_FOUND, "You have no draft of that number."))
}

async fn delete_draft(
    State(site): State<Arc<Site>>,
    Seller(account): Seller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    if site.world().delete_draft(&account.email, &id)? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Failure::new(StatusCode::NOT_FOUND, "You have no draft of that number."))
}

/// An older item without photos, for the control API.
pub(crate) fn seeded(
    site: &Site,
    account: &str,
    currency: &str,
    home: &str,
    number: u32,
    title: Option<&str>,
) -> Item {
    let posted = site.now() - Duration::from_hours(24 * u64::from(number));
    let fields = Fields {
        title: title.map_or_else(|| format!("Older listing {number}"), str::to_owned),
        price: (number % 90 + 5).to_string(),
        currency: currency.to_owned(),
        category: "Miscellaneous".to_owned(),
        condition: "New".to_owned(),
        description: "Put here by the control API.".to_owned(),
        location: home.to_owned(),
        ..Fields::default()
    };
    Item {
        id: ItemId(site.number(16)),
        account: account.to_owned(),
        fields,
        photos: Vec::new(),
        status: Status::Active,
        posted,
        visible: posted,
    }
}
