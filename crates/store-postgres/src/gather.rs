//! Reads for many at once: a few statements, however many jobs.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;
use tradepost_domain::id::{AccountId, AgentId, JobId, ListingId, PhotoId, PostingId, WorkspaceId};
use tradepost_domain::job::Job;
use tradepost_domain::photo::Photo;
use tradepost_domain::posting::Publication;
use tradepost_store::{Asked, Error, FoundRun, Gather, Ground, Supplies, Work};
use uuid::Uuid;

use crate::backend::Backend;
use crate::coalesce;
use crate::shared::accounts::AccountRow;
use crate::shared::listings::ListingRow;
use crate::shared::photos::PhotoRow;
use crate::shared::runs::runs;
use crate::shared::{AgentRow, Fault};
use crate::time::Time;

/// All that decides about one asked posting.
struct GroundRow {
    place: i64,
    made: Option<Uuid>,
    published: Option<Uuid>,
    unsettled: Option<Uuid>,
    c_id: Option<Uuid>,
    c_workspace_id: Option<Uuid>,
    c_name: Option<String>,
    c_site: Option<String>,
    c_site_url: Option<String>,
    c_sign_in_name: Option<String>,
    c_currency: Option<String>,
    c_agent_id: Option<Uuid>,
    c_auto_republish: Option<bool>,
    c_created_at: Option<Time>,
    c_version: Option<i64>,
    g_id: Option<Uuid>,
    g_workspace_id: Option<Uuid>,
    g_name: Option<String>,
    g_key_hash: Option<String>,
    g_platform: Option<String>,
    g_program_version: Option<String>,
    g_session_epoch: Option<i64>,
    g_boot_id: Option<Uuid>,
    g_controller_id: Option<Uuid>,
    g_last_seen_at: Option<Time>,
    g_created_at: Option<Time>,
    g_revoked_at: Option<Time>,
    g_join_counter: Option<i64>,
    g_join_boot_id: Option<Uuid>,
    g_suspect_boot_id: Option<Uuid>,
    g_locked_at: Option<Time>,
    g_lock_reason: Option<String>,
    g_approved_at: Option<Time>,
    g_challenge_at: Option<Time>,
    l_id: Option<Uuid>,
    l_workspace_id: Option<Uuid>,
    l_title: Option<String>,
    l_description: Option<String>,
    l_price_minor: Option<i64>,
    l_currency: Option<String>,
    l_category: Option<String>,
    l_condition: Option<String>,
    l_location: Option<String>,
    l_sku: Option<String>,
    l_attributes: Option<Value>,
    l_created_at: Option<Time>,
    l_updated_at: Option<Time>,
    l_version: Option<i64>,
    photos: Option<Vec<Uuid>>,
}

impl GroundRow {
    fn account(&mut self) -> Option<AccountRow> {
        Some(AccountRow {
            id: self.c_id?,
            workspace_id: self.c_workspace_id?,
            name: self.c_name.take()?,
            site: self.c_site.take()?,
            site_url: self.c_site_url.take()?,
            sign_in_name: self.c_sign_in_name.take(),
            currency: self.c_currency.take()?,
            agent_id: self.c_agent_id,
            auto_republish: self.c_auto_republish?,
            created_at: self.c_created_at?,
            version: self.c_version?,
        })
    }

    fn agent(&mut self) -> Option<AgentRow> {
        Some(AgentRow {
            id: self.g_id?,
            workspace_id: self.g_workspace_id?,
            name: self.g_name.take()?,
            key_hash: self.g_key_hash.take()?,
            platform: self.g_platform.take()?,
            program_version: self.g_program_version.take()?,
            session_epoch: self.g_session_epoch?,
            boot_id: self.g_boot_id,
            controller_id: self.g_controller_id,
            last_seen_at: self.g_last_seen_at,
            created_at: self.g_created_at?,
            revoked_at: self.g_revoked_at,
            join_counter: self.g_join_counter?,
            join_boot_id: self.g_join_boot_id,
            suspect_boot_id: self.g_suspect_boot_id,
            locked_at: self.g_locked_at,
            lock_reason: self.g_lock_reason.take(),
            approved_at: self.g_approved_at,
            challenge_at: self.g_challenge_at,
        })
    }

    fn listing(&mut self) -> Option<ListingRow> {
        Some(ListingRow {
            id: self.l_id?,
            workspace_id: self.l_workspace_id?,
            title: self.l_title.take()?,
            description: self.l_description.take()?,
            price_minor: self.l_price_minor?,
            currency: self.l_currency.take()?,
            category: self.l_category.take()?,
            condition: self.l_condition.take()?,
            location: self.l_location.take()?,
            sku: self.l_sku.take()?,
            attributes: self.l_attributes.take()?,
            created_at: self.l_created_at?,
            updated_at: self.l_updated_at?,
            version: self.l_version?,
        })
    }
}

#[async_trait]
impl Gather for Backend {
    async fn find_grounds(&self, asked: &[Asked]) -> Result<Vec<Ground>, Error> {
        let counter = self.queues().map(|queues| queues.grounds);
        let mut grounds = coalesce::ask(counter, asked.to_vec()).await?;
        // Rare, and shown in full.
        for (asked, ground) in asked.iter().zip(&mut grounds) {
            if ground.is_made {
                ground.ground.made = self.find_posting(asked.workspace, asked.posting).await?;
            }
            if ground.is_published {
                ground.ground.published =
                    self.find_published_posting(asked.workspace, asked.listing, asked.account).await?;
            }
        }
        Ok(grounds.into_iter().map(|ground| ground.ground).collect())
    }

    async fn find_run(&self, agent: AgentId, id: JobId) -> Result<Option<FoundRun>, Error> {
        let counter = self.queues().map(|queues| queues.runs);
        Ok(coalesce::ask(counter, vec![(agent, id)]).await?.pop().flatten())
    }

    async fn find_supplies(&self, jobs: &[Job]) -> Result<Vec<Supplies>, Error> {
        let counter = self.queues().map(|queues| queues.supplies);
        let wanted = jobs
            .iter()
            .map(|job| Wanted { workspace: job.workspace, account: job.account, posting: job.posting })
            .collect();
        coalesce::ask(counter, wanted).await
    }
}

/// A ground without the postings that are rarely there.
pub(crate) struct Found {
    is_made: bool,
    is_published: bool,
    ground: Ground,
}

/// For [`coalesce::serve`].
pub(crate) fn load_grounds<'c>(
    conn: &'c mut PgConnection,
    asked: &'c [Asked],
) -> BoxFuture<'c, Result<Vec<Found>, Fault>> {
    Box::pin(grounds(conn, asked))
}

async fn grounds(conn: &mut PgConnection, asked: &[Asked]) -> Result<Vec<Found>, Fault> {
    let workspaces: Vec<Uuid> = asked.iter().map(|one| one.workspace.0).collect();
    let postings: Vec<Uuid> = asked.iter().map(|one| one.posting.0).collect();
    let listings: Vec<Uuid> = asked.iter().map(|one| one.listing.0).collect();
    let accounts: Vec<Uuid> = asked.iter().map(|one| one.account.0).collect();
    let mut rows = sqlx::query_as!(
        GroundRow,
        r#"SELECT w.place AS "place!", m.id AS "made?: Uuid", f.id AS "published?: Uuid", u.id AS "unsettled?: Uuid",
                  c.id AS "c_id?: Uuid", c.workspace_id AS "c_workspace_id?: Uuid", c.name AS "c_name?",
                  c.site AS "c_site?", c.site_url AS "c_site_url?", c.sign_in_name AS "c_sign_in_name?",
                  c.currency AS "c_currency?", c.agent_id AS "c_agent_id?: Uuid",
                  c.auto_republish AS "c_auto_republish?", c.created_at AS "c_created_at?: Time",
                  c.version AS "c_version?", g.id AS "g_id?: Uuid", g.workspace_id AS "g_workspace_id?: Uuid",
                  g.name AS "g_name?", g.key_hash AS "g_key_hash?", g.platform AS "g_platform?",
                  g.program_version AS "g_program_version?", g.session_epoch AS "g_session_epoch?",
                  g.boot_id AS "g_boot_id?: Uuid", g.controller_id AS "g_controller_id?: Uuid",
                  g.last_seen_at AS "g_last_seen_at?: Time", g.created_at AS "g_created_at?: Time",
                  g.revoked_at AS "g_revoked_at?: Time", g.join_counter AS "g_join_counter?",
                  g.join_boot_id AS "g_join_boot_id?: Uuid", g.suspect_boot_id AS "g_suspect_boot_id?: Uuid",
                  g.locked_at AS "g_locked_at?: Time", g.lock_reason AS "g_lock_reason?",
                  g.approved_at AS "g_approved_at?: Time", g.challenge_at AS "g_challenge_at?: Time",
                  l.id AS "l_id?: Uuid",
                  l.workspace_id AS "l_workspace_id?: Uuid", l.title AS "l_title?", l.description AS "l_description?",
                  l.price_minor AS "l_price_minor?", l.currency AS "l_currency?", l.category AS "l_category?",
                  l.condition AS "l_condition?", l.location AS "l_location?", l.sku AS "l_sku?",
                  l.attributes AS "l_attributes?: Value", l.created_at AS "l_created_at?: Time",
                  l.updated_at AS "l_updated_at?: Time", l.version AS "l_version?",
                  (SELECT array_agg(s.photo_id ORDER BY s.position) FROM listing_photos s WHERE s.listing_id = l.id) AS "photos?: Vec<Uuid>"
           FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) WITH ORDINALITY
                   AS w (workspace, posting, listing, account, place)
               LEFT JOIN postings m ON m.id = w.posting AND (m.workspace_id = w.workspace) IS TRUE
               LEFT JOIN accounts c ON c.id = w.account AND (c.workspace_id = w.workspace) IS TRUE
               LEFT JOIN agents g ON g.id = c.agent_id
               LEFT JOIN listings l ON l.id = w.listing AND (l.workspace_id = w.workspace AND l.deleted_at IS NULL) IS TRUE
               LEFT JOIN LATERAL (
                   SELECT p.id FROM postings p
                   WHERE p.listing_id = w.listing AND p.account_id = w.account AND p.state = 'published'
                     AND (p.workspace_id = w.workspace) IS TRUE LIMIT 1) f ON TRUE
               LEFT JOIN LATERAL (
                   SELECT p.id FROM intents i JOIN postings p ON p.id = i.posting_id
                   WHERE i.account_id = c.id AND i.state IN ('armed', 'unknown') AND (p.state = 'uncertain') IS TRUE
                   LIMIT 1) u ON TRUE"#,
        &workspaces,
        &postings,
        &listings,
        &accounts,
    )
    .fetch_all(conn)
    .await?;
    rows.sort_unstable_by_key(|row| row.place);
    rows.into_iter().map(GroundRow::into_found).collect()
}

impl GroundRow {
    fn into_found(mut self) -> Result<Found, Fault> {
        let photos = self.photos.take().unwrap_or_default().into_iter().map(PhotoId).collect();
        let listing = self.listing().map(|row| row.into_listing(photos)).transpose()?;
        Ok(Found {
            is_made: self.made.is_some(),
            is_published: self.published.is_some(),
            ground: Ground {
                made: None,
                account: self.account().map(AccountRow::into_account).transpose()?,
                agent: self.agent().map(AgentRow::into_agent).transpose()?,
                listing,
                published: None,
                unsettled: self.unsettled.map(PostingId),
            },
        })
    }
}

/// For [`coalesce::serve`].
pub(crate) fn load_runs<'c>(
    conn: &'c mut PgConnection,
    keys: &'c [(AgentId, JobId)],
) -> BoxFuture<'c, Result<Vec<Option<FoundRun>>, Fault>> {
    Box::pin(async move {
        let ids: Vec<Uuid> = keys.iter().map(|(_, job)| job.0).collect();
        let rows = runs!("WHERE j.id = ANY($1)", &ids).fetch_all(conn).await?;
        let mut found: HashMap<JobId, FoundRun> = HashMap::with_capacity(rows.len());
        for row in rows {
            let run = row.into_run()?;
            found.insert(run.job.id, run);
        }
        let of_agent =
            |(agent, job): &(AgentId, JobId)| found.get(job).filter(|run| run.job.agent == *agent).cloned();
        Ok(keys.iter().map(of_agent).collect())
    })
}

/// A run whose supplies are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    workspace: WorkspaceId,
    account: AccountId,
    posting: Option<PostingId>,
}

/// For [`coalesce::serve`].
pub(crate) fn load_supplies<'c>(
    conn: &'c mut PgConnection,
    wanted: &'c [Wanted],
) -> BoxFuture<'c, Result<Vec<Supplies>, Fault>> {
    Box::pin(supplies(conn, wanted))
}

async fn supplies(conn: &mut PgConnection, wanted: &[Wanted]) -> Result<Vec<Supplies>, Fault> {
    let postings: Vec<Uuid> = wanted.iter().filter_map(|one| one.posting.map(|posting| posting.0)).collect();
    let rows = runs!("WHERE p.id = ANY($1)", &postings).fetch_all(&mut *conn).await?;
    let mut publications: HashMap<PostingId, Publication> = HashMap::with_capacity(rows.len());
    for row in rows {
        if let Some(publication) = row.into_run()?.publication {
            publications.insert(publication.posting.id, publication);
        }
    }
    let publication = |one: &Wanted| {
        let found = one.posting.and_then(|posting| publications.get(&posting));
        found.filter(|found| found.posting.workspace == one.workspace).cloned()
    };
    let asked: Vec<Asked> = wanted
        .iter()
        .map(|one| {
            let publication = publication(one);
            Asked {
                workspace: one.workspace,
                posting: PostingId(Uuid::nil()),
                listing: publication.map_or(ListingId(Uuid::nil()), |found| found.posting.listing),
                account: one.account,
            }
        })
        .collect();
    let grounds = grounds(conn, &asked).await?;
    let photos: HashSet<Uuid> = grounds
        .iter()
        .filter_map(|found| found.ground.listing.as_ref())
        .flat_map(|listing| listing.content.photos.iter().map(|photo| photo.0))
        .collect();
    let photos = photos_by_id(conn, photos.into_iter().collect()).await?;
    Ok(wanted
        .iter()
        .zip(grounds)
        .map(|(one, Found { ground, .. })| {
            let ids = ground.listing.as_ref().map(|listing| listing.content.photos.as_slice());
            let photos = ids.unwrap_or_default().iter().filter_map(|id| photos.get(id).cloned()).collect();
            let Ground { account, listing, .. } = ground;
            Supplies { account, publication: publication(one), listing, photos }
        })
        .collect())
}

async fn photos_by_id(conn: &mut PgConnection, ids: Vec<Uuid>) -> Result<HashMap<PhotoId, Photo>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query_as!(
        PhotoRow,
        r#"SELECT id AS "id!: Uuid", workspace_id AS "workspace_id!: Uuid", file_name AS "file_name!",
                  content_hash AS "content_hash!", media_type AS "media_type!", bytes AS "bytes!", width AS "width!",
                  height AS "height!", created_at AS "created_at!: Time"
           FROM photos WHERE id = ANY($1)"#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let photo = row.into_photo()?;
            Ok((photo.id, photo))
        })
        .collect()
}
