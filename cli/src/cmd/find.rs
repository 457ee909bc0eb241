//! Things by what people type: a whole id, the unique beginning of one, or a name.

use tradepost_domain::id::AccountId;

use crate::client::{Client, Listed};
use crate::error::{Error, Result};
use crate::model;

/// Shortest beginning of an id that is looked for.
const PREFIX_MIN: usize = 6;
/// How many of the newest are searched for the beginning of an id.
const SEARCHED: usize = 1_000;

pub(super) async fn account(client: &Client, given: &str) -> Result<model::Account> {
    if is_id(given) {
        return client.get_account(given.to_owned()).await;
    }
    let listed = client.list_accounts(usize::MAX).await?;
    pick(listed, given, "account", "accounts", |account| (&account.id, &account.name))
}

pub(super) async fn member(client: &Client, given: &str) -> Result<model::Member> {
    let listed = client.list_members(usize::MAX).await?;
    if is_id(given)
        && let Some(member) = listed.items.iter().find(|member| member.user_id == given)
    {
        return Ok(member.clone());
    }
    pick(listed, given, "member", "members", |member| (&member.user_id, &member.email))
}

pub(super) async fn user(client: &Client, given: &str) -> Result<model::User> {
    if is_id(given) {
        return client.get_user(given.to_owned()).await;
    }
    let listed = client.list_users(usize::MAX, None).await?;
    pick(listed, given, "user", "users", |user| (&user.id, &user.email))
}

pub(super) async fn agent(client: &Client, given: &str) -> Result<model::Agent> {
    if is_id(given) {
        return client.get_agent(given.to_owned()).await;
    }
    let listed = client.list_agents(usize::MAX).await?;
    pick(listed, given, "agent", "agents", |agent| (&agent.id, &agent.name))
}

pub(super) async fn listing(client: &Client, given: &str) -> Result<model::Listing> {
    if is_id(given) {
        return client.get_listing(given.to_owned()).await;
    }
    check_prefix(given, "listing", "listings")?;
    let listed = client.list_listings(SEARCHED).await?;
    pick(listed, given, "listing", "listings", |listing| (&listing.id, ""))
}

pub(super) async fn posting(client: &Client, given: &str) -> Result<model::Posting> {
    if is_id(given) {
        return client.get_posting(given.to_owned()).await;
    }
    check_prefix(given, "posting", "postings")?;
    let listed = client.list_postings(SEARCHED, None, None).await?;
    pick(listed, given, "posting", "postings", |posting| (&posting.id, ""))
}

pub(super) async fn job(client: &Client, given: &str) -> Result<model::Job> {
    if is_id(given) {
        return client.get_job(given.to_owned()).await;
    }
    check_prefix(given, "job", "jobs")?;
    let listed = client.list_jobs(SEARCHED, None, None).await?;
    pick(listed, given, "job", "jobs", |job| (&job.id, ""))
}

/// All ids are written alike.
fn is_id(text: &str) -> bool {
    text.parse::<AccountId>().is_ok()
}

fn is_prefix(text: &str) -> bool {
    text.len() >= PREFIX_MIN && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn check_prefix(given: &str, noun: &str, nouns: &str) -> Result<()> {
    if is_prefix(given) {
        return Ok(());
    }
    Err(Error::usage(format!("{given:?} is not the id of {} {noun}", article(noun))).hint(format!(
        "give the id, or its first {PREFIX_MIN} or more characters; `tradepost {nouns} list` shows them"
    )))
}

fn pick<T>(
    listed: Listed<T>,
    given: &str,
    noun: &str,
    nouns: &str,
    key: impl for<'a> Fn(&'a T) -> (&'a String, &'a str),
) -> Result<T> {
    let lower = given.to_lowercase();
    let named = |item: &T| key(item).1 == given;
    let begun = |item: &T| is_prefix(&lower) && key(item).0.starts_with(&lower);
    let by_name = listed.items.iter().any(named);
    let matching: Vec<T> =
        listed.items.into_iter().filter(|item| if by_name { named(item) } else { begun(item) }).collect();
    let ids: Vec<String> = matching.iter().map(|item| key(item).0.clone()).collect();
    let count = matching.len();
    let mut matching = matching.into_iter();
    match (matching.next(), count) {
        (Some(only), 1) => Ok(only),
        (None, _) => Err(Error::not_found(format!("there is no {noun} {given:?}"))
            .hint(format!("`tradepost {nouns} list` shows them"))),
        (Some(_), _) => {
            Err(Error::usage(format!("{given:?} stands for {count} {nouns}: give more of the id"))
                .details(ids))
        }
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with('a') { "an" } else { "a" }
}
