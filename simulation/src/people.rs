//! Sellers: they ask for postings, change their minds, sign in when asked, and in the end say what they see.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use tradepost_controller::service::posting::{Finding, NewPosting};
use tradepost_controller::service::{Core, Error};
use tradepost_domain::account::Account;
use tradepost_domain::failure::FailureClass;
use tradepost_domain::id::{AccountId, PostingId, RequestId, WorkspaceId};
use tradepost_domain::job;
use tradepost_domain::posting::State;
use tradepost_domain::publish;
use tradepost_store::{Listings, Principal};

use crate::check::sound;
use crate::executor::WORLD;
use crate::fleet::Fleet;
use crate::net::within;
use crate::plan::until_next;
use crate::site::Maker;
use crate::world::{World, lock};

/// A use case on any controller that runs; none when its answer was lost.
async fn ask<T, F>(
    world: &Arc<World>,
    what: &'static str,
    use_case: impl FnOnce(Core) -> F + Send,
) -> Option<Result<T, Error>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let index = world.exec.below(world.controllers.len());
    let running = world.controllers[index].running()?;
    let work = use_case(running.core);
    let (answer, answered) = oneshot::channel();
    let on = Arc::clone(world);
    world.exec.spawn(running.process, async move {
        // Who asked may have gone.
        drop(answer.send(sound(&on, what, work.await)));
    });
    let done = within(world, Duration::from_secs(30), answered).await?.ok()?;
    if let Err(error) = &done {
        world.say(|| format!("people: {what}: {error}"));
    }
    Some(done)
}

fn request(name: &str) -> Option<RequestId> {
    RequestId::parse(name).ok()
}

/// Everything that people do while things go wrong.
pub fn begin(world: &Arc<World>, fleet: &Fleet) {
    for number in 0..world.plan.postings {
        let (world, fleet) = (Arc::clone(world), fleet.clone());
        world.exec.clone().spawn(WORLD, async move {
            let until = world.plan.storm.mul_f64(0.8);
            world.exec.sleep(world.exec.between(Duration::ZERO, until)).await;
            post(&world, &fleet, number).await;
        });
    }
    let Some(gap) = world.plan.wishes else { return };
    let (world, fleet) = (Arc::clone(world), fleet.clone());
    world.exec.clone().spawn(WORLD, async move {
        let mut number = 0;
        loop {
            world.exec.sleep(until_next(&world.exec, gap)).await;
            if !world.storm() {
                return;
            }
            number += 1;
            wish(&world, &fleet, number).await;
        }
    });
}

/// Asks for a posting until there is an answer, always by the same request.
async fn post(world: &Arc<World>, fleet: &Fleet, number: usize) {
    let Some(account) = world.exec.pick(&fleet.accounts).cloned() else { return };
    let ours: Vec<_> =
        fleet.listings.iter().filter(|(workspace, _)| *workspace == account.workspace).collect();
    let (Some((_, listing)), Some(owner)) = (world.exec.pick(&ours), owner(fleet, account.workspace)) else {
        return;
    };
    let (listing, priority, again) = (*listing, [0, 0, 10][world.exec.below(3)], world.exec.chance(0.3));
    let began = world.exec.now();
    for _ in 0..20 {
        let Some(name) = request(&format!("post-{number}")) else { return };
        let new = NewPosting { request: name, listing, account: account.id, priority, again };
        let caller = owner.clone();
        let done =
            ask(world, "create_posting", move |core| async move { core.create_posting(&caller, new).await });
        match done.await {
            Some(Ok((posting, _))) => {
                world.say(|| format!("people: posting {} of {listing} on {}", posting.id, account.id));
                return;
            }
            Some(Err(error)) if error.retry_after.is_none() => {
                world.count("a posting is refused");
                return;
            }
            _ => world.count("a request for a posting is repeated"),
        }
        world.exec.sleep(world.exec.between(Duration::from_millis(100), Duration::from_secs(10))).await;
        if lock(&world.ledger).was_restored_since(began) {
            // The feed says that a backup was put back: a person looks before asking again.
            world.count("a request for a posting is not repeated after a restore");
            return;
        }
    }
}

fn owner(fleet: &Fleet, workspace: WorkspaceId) -> Option<Principal> {
    fleet.people.iter().find(|person| person.workspace == workspace).cloned()
}

/// Something that a person may wish at any time.
async fn wish(world: &Arc<World>, fleet: &Fleet, number: usize) {
    let postings: Vec<(WorkspaceId, PostingId)> =
        world.store.look(|rows| rows.postings().map(|posting| (posting.workspace, posting.id)).collect());
    let Some(&(workspace, posting)) = world.exec.pick(&postings) else { return };
    let Some(caller) = owner(fleet, workspace) else { return };
    match world.exec.below(8) {
        0 | 1 => {
            world.count("a person cancels");
            drop(
                ask(world, "cancel_posting", move |core| async move {
                    core.cancel_posting(&caller, posting).await
                })
                .await,
            );
        }
        2 => {
            world.count("a person retries");
            drop(
                ask(
                    world,
                    "retry_posting",
                    move |core| async move { core.retry_posting(&caller, posting).await },
                )
                .await,
            );
        }
        3 => {
            if let Some(account) = world.exec.pick(&fleet.accounts).cloned() {
                sign_in(world, fleet, &account, &format!("login-{number}")).await;
            }
        }
        4 if world.plan.restore.is_none() => rebind(world, fleet).await,
        5 => edit(world, fleet, number).await,
        6 => delete(world, fleet).await,
        _ => resolve_early(world, caller, posting).await,
    }
}

/// A seller changes what is for sale, whatever is done with it at the time.
async fn edit(world: &Arc<World>, fleet: &Fleet, number: usize) {
    let Some(&(workspace, listing)) = world.exec.pick(&fleet.listings) else { return };
    let Some(caller) = owner(fleet, workspace) else { return };
    let Ok(Some(stored)) = world.store.find_listing(workspace, listing).await else { return };
    let mut content = stored.content;
    content.title = format!("{} (edit {number})", content.title.split(" (").next().unwrap_or_default());
    world.count("a person changes a listing");
    let change =
        move |core: Core| async move { core.update_listing(&caller, listing, content, stored.version).await };
    drop(ask(world, "update_listing", change).await);
}

async fn delete(world: &Arc<World>, fleet: &Fleet) {
    let Some(&(workspace, listing)) = world.exec.pick(&fleet.listings) else { return };
    let Some(caller) = owner(fleet, workspace) else { return };
    world.count("a person deletes a listing");
    let delete = move |core: Core| async move { core.delete_listing(&caller, listing).await };
    drop(ask(world, "delete_listing", delete).await);
}

/// A person sees an uncertain listing on the site before any look does, and says so.
async fn resolve_early(world: &Arc<World>, caller: Principal, posting: PostingId) {
    let uncertain = world
        .store
        .look(|rows| rows.postings().any(|row| row.id == posting && row.state == State::Uncertain));
    let finding = truth(world, posting);
    if uncertain && matches!(finding, Finding::Published { .. }) {
        world.count("a person resolves an uncertain posting before a look");
        let resolve = move |core: Core| async move { core.resolve_posting(&caller, posting, finding).await };
        drop(ask(world, "resolve_posting", resolve).await);
    }
}

async fn sign_in(world: &Arc<World>, fleet: &Fleet, account: &Account, name: &str) {
    let (Some(caller), Some(request)) = (owner(fleet, account.workspace), request(name)) else { return };
    let id = account.id;
    world.count("a person signs in");
    drop(
        ask(
            world,
            "login_account",
            move |core| async move { core.login_account(&caller, &request, id).await },
        )
        .await,
    );
}

/// Moves an account to another agent of its workspace.
async fn rebind(world: &Arc<World>, fleet: &Fleet) {
    let Some(account) = world.exec.pick(&fleet.accounts).cloned() else { return };
    let ours: Vec<_> = fleet.agents.iter().filter(|(workspace, _)| *workspace == account.workspace).collect();
    let (Some((_, agent)), Some(caller)) = (world.exec.pick(&ours), owner(fleet, account.workspace)) else {
        return;
    };
    let (agent, id) = (*agent, account.id);
    world.count("an account is bound to another agent");
    drop(
        ask(
            world,
            "bind_account",
            move |core| async move { core.bind_account(&caller, id, agent, None).await },
        )
        .await,
    );
}

/// Signs in wherever a job waits for that.
pub async fn sign_in_where_asked(world: Arc<World>, fleet: Fleet, round: usize) {
    let waiting: Vec<AccountId> = world.store.look(|rows| {
        let for_login = |job: &&job::Job| {
            job.state == job::State::NeedsHuman
                && job.failure.as_ref().is_some_and(|failure| failure.class == FailureClass::NeedsLogin)
        };
        rows.jobs().filter(for_login).map(|job| job.account).collect()
    });
    for account in &fleet.accounts {
        if waiting.contains(&account.id) {
            sign_in(&world, &fleet, account, &format!("calm-{round}-{}", account.id.0.as_u128() % 1000))
                .await;
        }
    }
}

/// Every question that is open is answered by what the site shows.
pub async fn answer_questions(world: Arc<World>, fleet: Fleet) {
    let asked: Vec<(WorkspaceId, PostingId, publish::State)> = world.store.look(|rows| {
        let open = rows.postings().filter(|posting| posting.state == State::NeedsHuman);
        open.filter_map(|posting| Some((posting.workspace, posting.id, rows.intent(posting.intent)?.state)))
            .collect()
    });
    for (workspace, posting, intent) in asked {
        let Some(caller) = owner(&fleet, workspace) else { continue };
        if matches!(intent, publish::State::Duplicate | publish::State::NeedsHuman) {
            let finding = truth(&world, posting);
            world.count("a person resolves a posting");
            world.say(|| format!("people: resolve {posting}: {finding:?}"));
            drop(
                ask(&world, "resolve_posting", move |core| async move {
                    core.resolve_posting(&caller, posting, finding).await
                })
                .await,
            );
        } else {
            world.count("a person lets a posting go on");
            drop(
                ask(&world, "retry_posting", move |core| async move {
                    core.retry_posting(&caller, posting).await
                })
                .await,
            );
        }
    }
}

/// What a person sees on the site.
fn truth(world: &World, posting: PostingId) -> Finding {
    let site = lock(&world.site);
    let ours = site.ledger().iter().find(|item| {
        item.removed_at.is_none() && matches!(&item.maker, Maker::Us(form) if form.posting == posting)
    });
    match ours {
        Some(item) => Finding::Published {
            item_id: item.id.clone(),
            url: format!("https://market.example.com/item/{}", item.id),
        },
        None => Finding::NotPublished,
    }
}
