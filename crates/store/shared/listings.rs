//! Listings.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use tradepost_domain::event::{Kind, Subject};
use tradepost_domain::id::{ListingId, PhotoId, Version, WorkspaceId};
use tradepost_domain::listing::{Condition, Content, Listing};
use tradepost_domain::money::{Currency, Money};
use tradepost_domain::time::Timestamp;
use tradepost_store::{Conflict, Cursor, Error, Listings, PageRequest, Slice};
use uuid::Uuid;

use super::{Fault, Tx, page, rows};
use crate::backend::{Backend, Conn};
use crate::time::Time;

/// A row of the table.
pub(crate) struct ListingRow {
    pub(crate) id: Uuid,
    pub(crate) workspace_id: Uuid,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) price_minor: i64,
    pub(crate) currency: String,
    pub(crate) category: String,
    pub(crate) condition: String,
    pub(crate) location: String,
    pub(crate) sku: String,
    pub(crate) attributes: Value,
    pub(crate) created_at: Time,
    pub(crate) updated_at: Time,
    pub(crate) version: i64,
}

struct PlacedPhoto {
    listing: Uuid,
    position: i64,
    photo: Uuid,
}

impl ListingRow {
    pub(crate) fn into_listing(self, photos: Vec<PhotoId>) -> Result<Listing, Fault> {
        let price = self
            .currency
            .parse::<Currency>()
            .and_then(|currency| Money::from_minor(self.price_minor, currency))
            .map_err(|error| Fault::inconsistent("listings.price_minor", self.id, error))?;
        Ok(Listing {
            id: ListingId(self.id),
            workspace: WorkspaceId(self.workspace_id),
            content: Content {
                title: self.title,
                description: self.description,
                price,
                category: self.category,
                condition: Condition::parse(&self.condition)
                    .map_err(|_| Fault::inconsistent("listings.condition", self.id, &self.condition))?,
                location: self.location,
                sku: self.sku,
                attributes: serde_json::from_value(self.attributes)
                    .map_err(|error| Fault::inconsistent("listings.attributes", self.id, error))?,
                photos,
            },
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
            version: Version(self.version),
        })
    }
}

macro_rules! listings {
    ($before:literal, $after:literal, $($args:tt)*) => {
        sqlx::query_as!(
            ListingRow,
            $before + r#" id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid", title AS "title!",
            description AS "description!", price_minor AS "price_minor!", currency AS "currency!",
            category AS "category!", condition AS "condition!", location AS "location!", sku AS "sku!",
            attributes AS "attributes!: Value", created_at AS "created_at!: Time", updated_at AS "updated_at!: Time",
            version AS "version!" "# + $after,
            $($args)*
        )
    };
}

#[async_trait]
impl Listings for Backend {
    async fn add_listing(&self, listing: Listing) -> Result<Listing, Error> {
        self.write(move |tx| Box::pin(insert(tx, listing))).await
    }

    async fn find_listing(&self, workspace: WorkspaceId, id: ListingId) -> Result<Option<Listing>, Error> {
        self.snapshot(async |conn| {
            let Some(row) = listings!(
                "SELECT",
                "FROM listings WHERE id = $1 AND workspace_id = $2 AND deleted_at IS NULL",
                id.0,
                workspace.0
            )
            .fetch_optional(&mut *conn)
            .await?
            else {
                return Ok(None);
            };
            with_photos(conn, row).await.map(Some)
        })
        .await
    }

    async fn list_listings(
        &self,
        workspace: WorkspaceId,
        page: PageRequest,
    ) -> Result<Slice<Listing>, Error> {
        self.snapshot(async |conn| {
            let (at, id, limit) = page::newest(&page)?;
            let rows = listings!(
                "SELECT",
                "FROM listings WHERE workspace_id = $1 AND deleted_at IS NULL AND (created_at, id) < ($2, $3)
                 ORDER BY created_at DESC, id DESC LIMIT $4",
                workspace.0,
                at,
                id,
                limit
            )
            .fetch_all(&mut *conn)
            .await?;
            let mut photos = photos_of_page(conn, workspace, (at, id, limit)).await?;
            let listings = rows
                .into_iter()
                .map(|row| {
                    let photos = photos.remove(&row.id).unwrap_or_default();
                    row.into_listing(photos)
                })
                .collect::<Result<Vec<_>, _>>()?;
            Ok(page::slice(listings, &page, |listing| Cursor::Newest(listing.created_at, listing.id.0)))
        })
        .await
    }

    async fn update_listing(
        &self,
        workspace: WorkspaceId,
        id: ListingId,
        content: Content,
        version: Version,
        now: Timestamp,
    ) -> Result<Listing, Error> {
        self.write(move |tx| Box::pin(update(tx, workspace, id, content, version, now))).await
    }

    async fn delete_listing(
        &self,
        workspace: WorkspaceId,
        id: ListingId,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |mut tx| {
            Box::pin(async move {
                // The row first: a posting that is being added holds it, and finds it deleted afterwards.
                let deleted = sqlx::query!(
                    "UPDATE listings SET deleted_at = $3, updated_at = $3, version = version + 1
                     WHERE id = $1 AND workspace_id = $2 AND deleted_at IS NULL",
                    id.0,
                    workspace.0,
                    Time(now),
                )
                .execute(&mut *tx.conn)
                .await?;
                if deleted.rows_affected() == 0 {
                    return Err(Error::Stale.into());
                }
                let open = sqlx::query_scalar!(
                    r#"SELECT id AS "id!: Uuid" FROM postings
                       WHERE listing_id = $1 AND state IN ('queued', 'running', 'uncertain', 'needs_human')
                         AND state <> 'needs_human' LIMIT 1"#,
                    id.0,
                )
                .fetch_optional(&mut *tx.conn)
                .await?;
                if open.is_some() {
                    return Err(Conflict::PostingOpen.into());
                }
                let subject = Subject { listing: Some(id), ..Subject::default() };
                tx.append_event(workspace, Kind::ListingDeleted, subject, json!({}), now).await
            })
        })
        .await
    }
}

async fn insert(mut tx: Tx<'_>, listing: Listing) -> Result<Listing, Fault> {
    let stored = match find_any(tx.conn, listing.id).await? {
        Some(stored) => Some(stored),
        None => try_insert(&mut tx, &listing).await?,
    };
    match stored {
        Some(stored) if stored.workspace == listing.workspace => {
            tx.unchanged();
            Ok(stored)
        }
        Some(_) => Err(Conflict::Id.into()),
        None => Ok(listing),
    }
}

/// Inserts it, or returns the one that was quicker.
async fn try_insert(tx: &mut Tx<'_>, listing: &Listing) -> Result<Option<Listing>, Fault> {
    let content = &listing.content;
    let currency = content.price.currency();
    let inserted = sqlx::query!(
        "INSERT INTO listings
             (id, workspace_id, title, description, price_minor, currency, category, condition, location, sku,
              attributes, created_at, updated_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (id) DO NOTHING",
        listing.id.0,
        listing.workspace.0,
        content.title,
        content.description,
        content.price.minor(),
        currency.code(),
        content.category,
        content.condition.name(),
        content.location,
        content.sku,
        serde_json::to_value(&content.attributes).map_err(rows::unstorable)?,
        Time(listing.created_at),
        Time(listing.updated_at),
        listing.version.0,
    )
    .execute(&mut *tx.conn)
    .await?;
    if inserted.rows_affected() == 0 {
        return find_any(tx.conn, listing.id).await;
    }
    insert_photos(tx.conn, listing.workspace, listing.id, &content.photos).await?;
    let subject = Subject { listing: Some(listing.id), ..Subject::default() };
    tx.append_event(listing.workspace, Kind::ListingCreated, subject, json!({}), listing.created_at).await?;
    Ok(None)
}

async fn update(
    mut tx: Tx<'_>,
    workspace: WorkspaceId,
    id: ListingId,
    content: Content,
    version: Version,
    now: Timestamp,
) -> Result<Listing, Fault> {
    let currency = content.price.currency();
    let row = listings!(
        "UPDATE listings SET title = $4, description = $5, price_minor = $6, currency = $7, category = $8,
             condition = $9, location = $10, sku = $11, attributes = $12, updated_at = $13, version = version + 1
         WHERE id = $1 AND workspace_id = $2 AND version = $3 AND deleted_at IS NULL RETURNING",
        "",
        id.0,
        workspace.0,
        version.0,
        content.title,
        content.description,
        content.price.minor(),
        currency.code(),
        content.category,
        content.condition.name(),
        content.location,
        content.sku,
        serde_json::to_value(&content.attributes).map_err(rows::unstorable)?,
        Time(now)
    )
    .fetch_optional(&mut *tx.conn)
    .await?
    .ok_or(Error::Stale)?;
    sqlx::query!("DELETE FROM listing_photos WHERE listing_id = $1", id.0).execute(&mut *tx.conn).await?;
    insert_photos(tx.conn, workspace, id, &content.photos).await?;
    let subject = Subject { listing: Some(id), ..Subject::default() };
    tx.append_event(workspace, Kind::ListingChanged, subject, json!({}), now).await?;
    row.into_listing(content.photos)
}

/// Writes the order of the photos; one of another workspace counts as absent.
async fn insert_photos(
    conn: &mut Conn,
    workspace: WorkspaceId,
    listing: ListingId,
    photos: &[PhotoId],
) -> Result<(), Fault> {
    for (position, photo) in (0_i64..).zip(photos) {
        let inserted = sqlx::query!(
            "INSERT INTO listing_photos (listing_id, position, photo_id)
             SELECT $1, $2, id FROM photos WHERE id = $3 AND workspace_id = $4",
            listing.0,
            position,
            photo.0,
            workspace.0,
        )
        .execute(&mut *conn)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(Error::Stale.into());
        }
    }
    Ok(())
}

async fn with_photos(conn: &mut Conn, row: ListingRow) -> Result<Listing, Fault> {
    let photos = sqlx::query_scalar!(
        r#"SELECT photo_id AS "id!: Uuid" FROM listing_photos WHERE listing_id = $1 ORDER BY position"#,
        row.id,
    )
    .fetch_all(&mut *conn)
    .await?;
    row.into_listing(photos.into_iter().map(PhotoId).collect())
}

/// The photos of all listings of a page, in their order, with one statement.
async fn photos_of_page(
    conn: &mut Conn,
    workspace: WorkspaceId,
    (at, id, limit): (Time, Uuid, i64),
) -> Result<HashMap<Uuid, Vec<PhotoId>>, Fault> {
    let mut rows = sqlx::query_as!(
        PlacedPhoto,
        r#"SELECT p.listing_id AS "listing!: Uuid", p.position AS "position!", p.photo_id AS "photo!: Uuid"
           FROM listing_photos p WHERE p.listing_id IN (
               SELECT id FROM listings
               WHERE workspace_id = $1 AND deleted_at IS NULL AND (created_at, id) < ($2, $3)
               ORDER BY created_at DESC, id DESC LIMIT $4)"#,
        workspace.0,
        at,
        id,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    rows.sort_unstable_by_key(|row| row.position);
    let mut photos: HashMap<Uuid, Vec<PhotoId>> = HashMap::new();
    for row in rows {
        photos.entry(row.listing).or_default().push(PhotoId(row.photo));
    }
    Ok(photos)
}

async fn find_any(conn: &mut Conn, id: ListingId) -> Result<Option<Listing>, Fault> {
    let row = listings!("SELECT", "FROM listings WHERE id = $1", id.0).fetch_optional(&mut *conn).await?;
    match row {
        Some(row) => with_photos(conn, row).await.map(Some),
        None => Ok(None),
    }
}
