//! The ledger of truth and the switchboard of faults. Reachable on loopback only, like the whole site.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde_json::{Value, json};

use super::composer::seeded;
use super::{Failure, Site, rfc3339};
use crate::account::Account;
use crate::control::{Instruction, Seed};
use crate::model::{Item, Submission};

/// Everything received, and the items as they stand now.
pub(crate) async fn ledger(State(site): State<Arc<Site>>) -> Json<Value> {
    let world = site.world();
    let now = site.now();
    let submissions: Vec<Value> = world.submissions().iter().map(submission).collect();
    let items: Vec<Value> = world.items().iter().map(|item| standing(item, item.visible <= now)).collect();
    Json(json!({ "submissions": submissions, "items": items, "sign_ins": world.sign_ins }))
}

fn submission(submission: &Submission) -> Value {
    let Submission {
        seq,
        at,
        account,
        click,
        repeats,
        fields,
        photos,
        faults,
        outcome,
        reply,
        message,
        item,
    } = submission;
    json!({
        "seq": seq, "at": rfc3339(*at), "account": account, "click": click, "repeats": repeats, "fields": fields,
        "photos": photos, "faults": faults, "outcome": outcome, "reply": reply, "message": message, "item": item,
    })
}

fn standing(item: &Item, visible: bool) -> Value {
    let Item { id, account, fields, photos, status, posted, visible: from } = item;
    json!({
        "id": id, "account": account, "path": item.path(), "fields": fields, "photos": photos, "status": status,
        "posted": rfc3339(*posted), "visible_from": rfc3339(*from), "visible": visible,
    })
}

/// The faults and variants in force.
pub(crate) async fn state(State(site): State<Arc<Site>>) -> Json<Value> {
    Json(standing_orders(&site))
}

/// Faults, variants, and what is held.
fn standing_orders(site: &Site) -> Value {
    let mut orders = json!(site.world().control);
    let held = json!(site.holds.standing());
    if let (Some(orders), Value::Object(held)) = (orders.as_object_mut(), held) {
        orders.extend(held);
    }
    orders
}

/// Changes faults and variants, or what stands on the site.
pub(crate) async fn instruct(State(site): State<Arc<Site>>, body: Bytes) -> Result<Json<Value>, Failure> {
    let bad = |message: String| Failure::new(StatusCode::BAD_REQUEST, message);
    let instruction: Instruction = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    change(&site, &instruction)?;
    Ok(Json(standing_orders(&site)))
}

fn change(site: &Site, instruction: &Instruction) -> Result<(), Failure> {
    let mut world = site.world();
    let accounts = world.accounts().to_vec();
    let bad = |message: String| Failure::new(StatusCode::BAD_REQUEST, message);
    world.control.apply(instruction, &accounts).map_err(bad)?;
    let account = instruction.account.as_deref();
    if instruction.release_reviews {
        world.release_reviews(account, site.now())?;
    }
    if instruction.logout {
        world.close_sessions(account)?;
    }
    if let Some(seed) = &instruction.seed {
        let of = |known: &&Account| account.is_none_or(|wanted| wanted == known.email);
        for item in accounts.iter().find(of).map_or_else(Vec::new, |owner| older(site, owner, seed)) {
            world.seed(item)?;
        }
    }
    if instruction.release {
        site.holds.release();
    }
    if let Some(hold) = &instruction.hold {
        site.holds.ask(hold.clone());
    }
    Ok(())
}

/// Items to seed, the oldest first.
fn older(site: &Site, owner: &Account, Seed { count, title }: &Seed) -> Vec<Item> {
    let item = |number| seeded(site, &owner.email, owner.currency, owner.home, number, title.as_deref());
    (1..=*count).rev().map(item).collect()
}
