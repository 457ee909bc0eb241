//! Reaching a point exactly, striking there, and mending.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::time::Instant;
use tradepost_testkit::process::{Signal, signal};
use tradepost_testkit::wait;

use super::case::{Case, Fault, Link, Point, Victim};
use super::gate::Standing;
use super::judge::{self, Verdict};
use super::world::{Wanted, World};
use crate::cli::Cli;
use crate::processes;
use crate::proxy::{Proxy, Way};
use crate::sites::Kind;

/// A point is reached within this time, sign-in and a slow machine included.
const REACH_WITHIN: Duration = Duration::from_secs(90);
/// A posting is decided within this time after the mend: overdue report 60 s, looks 30 s, a step of 120 s.
const DECIDED_WITHIN: Duration = Duration::from_secs(300);
/// Number of the first listing that is posted before the cases.
const PRIMING: usize = 90_000;
/// How much later a person's command line hears its answer, so that it can be lost.
const ANSWER_LATE: Duration = Duration::from_secs(3);

/// The posting stands at the point.
struct Reached {
    posting: String,
    /// The agent stands at a gate.
    gate: Option<Standing>,
    /// The command of the person who asked, which has no answer yet.
    asking: Option<tokio::task::JoinHandle<Result<crate::cli::Finished>>>,
}

/// What has to be undone.
enum Struck {
    Killed(Victim, usize),
    Stopped(Vec<u32>, Duration),
    Cut(Link, Duration),
}

/// The whole case.
pub async fn play(case: &Case, world: &mut World) -> Result<Verdict> {
    let wanted = world.add_listing(case).await?;
    world.make_trouble(case).await?;
    let reached = reach(case, world, &wanted).await.with_context(|| format!("reaching {:?}", case.point))?;
    let Reached { posting, gate, asking } = reached;
    let struck = strike(case.fault, world).await.with_context(|| case.fault.to_string())?;
    // What was held goes on while the fault lasts, or after it: both happen.
    drop(gate);
    let at_once = case.number.is_multiple_of(2);
    if at_once {
        release(case, world).await?;
    }
    mend(struck, world).await.context("mending")?;
    if !at_once {
        release(case, world).await?;
    }
    if let Some(asking) = asking {
        ask_again_if_needed(world, &wanted, asking.await??).await?;
    }
    world.end_trouble().await?;
    let mended = Instant::now();
    let shown = decided(world, &posting).await?;
    let took = mended.elapsed();
    let verdict = judge::compare(case, world, &wanted, &shown, took).await?;
    if verdict.is_clean() {
        world.rest().await.context("coming to rest")?;
    }
    Ok(verdict)
}

/// Posts a listing on each account, undisturbed.
pub async fn prime(case: &Case, world: &World) -> Result<()> {
    for account in 0..world.accounts.len() {
        let wanted = world.add_listing(&Case { number: PRIMING + account, ..*case }).await?;
        let posting = world.post(&wanted).await?;
        let shown = decided(world, &posting).await?;
        ensure!(shown["state"] == "published", "without any fault: {shown}");
    }
    world.rest().await
}

/// Brings a new posting to the point.
async fn reach(case: &Case, world: &mut World, wanted: &Wanted) -> Result<Reached> {
    let record = match case.point {
        Point::Asked => return reach_asked(world, wanted).await,
        Point::Dispatched => {
            world.agents.set(Way::RepliesHeld);
            let posting = world.post(wanted).await?;
            world.wait_for_event(&posting, "job.changed", &["leased"]).await?;
            return Ok(Reached { posting, gate: None, asking: None });
        }
        Point::Uploading => return reach_held(world, wanted, "/api/photos", "before").await,
        Point::Arriving => return reach_held(world, wanted, publish_path(world.kind), "before").await,
        Point::Clicked => return reach_held(world, wanted, publish_path(world.kind), "after").await,
        Point::Requested => return reach_requested(world, wanted).await,
        Point::Looking => return reach_look(world, wanted).await,
        Point::Started => "run_started",
        Point::Preparing => "processes_started",
        Point::Prepared => "permit_requested",
        Point::Permitted => "permit",
        Point::WillClick => "will_click",
        Point::Noted => "clicked",
        Point::Outcome => "outcome",
        Point::Settled => "settled",
        Point::Ended => "run_ended",
    };
    let gate = world.gates.close(record)?;
    let posting = world.post(wanted).await?;
    let standing = gate.reached(REACH_WITHIN).await?;
    Ok(Reached { posting, gate: Some(standing), asking: None })
}

fn publish_path(kind: Kind) -> &'static str {
    match kind {
        Kind::Sandbox => "/api/publish",
        Kind::Classified => "/new/",
    }
}

/// The posting is stored while the answer to the person is still on its way.
async fn reach_asked(world: &World, wanted: &Wanted) -> Result<Reached> {
    world.people.set(Way::RepliesLate(ANSWER_LATE));
    let tasks = tradepost_runtime::tasks::Tasks::new();
    let asking = tasks.spawn("asking", create(world.system.cli.clone(), wanted.clone()));
    let stored = async || world.posting_of(&wanted.listing).await;
    let posting = world.ask_until("the posting to be stored", REACH_WITHIN, stored).await?;
    ensure!(!asking.is_finished(), "the answer came before the fault");
    Ok(Reached { posting, gate: None, asking: Some(asking) })
}

async fn create(cli: Cli, wanted: Wanted) -> Result<crate::cli::Finished> {
    let listing = ["postings", "create", "--listing", &wanted.listing, "--account", &wanted.account.id];
    let mut all = listing.to_vec();
    all.extend(["-o", "json", "--timeout", "90s"]);
    cli.run(&all).await
}

/// A person whose command failed gives it again; the second one must not post a second time.
async fn ask_again_if_needed(world: &World, wanted: &Wanted, first: crate::cli::Finished) -> Result<()> {
    world.people.set(Way::Open);
    if first.code == 0 {
        return Ok(());
    }
    let second = create(world.system.cli.clone(), wanted.clone()).await?;
    let told = second.code == 0 || second.stderr.contains("already");
    ensure!(told, "asked again after {:?}, the answer was: {}", first.stderr, second.stderr);
    Ok(())
}

/// A request of the browser is held by the site.
async fn reach_held(world: &World, wanted: &Wanted, path: &str, when: &str) -> Result<Reached> {
    world.site.hold(path, when).await?;
    let posting = world.post(wanted).await?;
    wait::until("the site to hold the request", REACH_WITHIN, || async {
        match world.site.is_holding().await {
            Ok(true) => Ok(()),
            Ok(false) => Err("not yet".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await?;
    Ok(Reached { posting, gate: None, asking: None })
}

/// The permit is given, and its answer held on the way.
async fn reach_requested(world: &World, wanted: &Wanted) -> Result<Reached> {
    let gate = world.gates.close("permit_requested")?;
    let posting = world.post(wanted).await?;
    let standing = gate.reached(REACH_WITHIN).await?;
    world.agents.set(Way::RepliesHeld);
    drop(standing);
    world.wait_for_event(&posting, "intent.changed", &["armed"]).await?;
    Ok(Reached { posting, gate: None, asking: None })
}

/// The agent is killed behind its click, started again, and stands with Chrome open for a look.
async fn reach_look(world: &mut World, wanted: &Wanted) -> Result<Reached> {
    let gate = world.gates.close("clicked")?;
    let posting = world.post(wanted).await?;
    let standing = gate.reached(REACH_WITHIN).await?;
    world.agent.process.kill()?;
    drop(standing);
    let gate = world.gates.close("processes_started")?;
    world.system.restart_agent(&mut world.agent).await?;
    let standing = gate.reached(REACH_WITHIN).await?;
    Ok(Reached { posting, gate: Some(standing), asking: None })
}

async fn strike(fault: Fault, world: &mut World) -> Result<Struck> {
    Ok(match fault {
        Fault::Kill(victim) => {
            let serving = world.agents.last_target();
            match victim {
                Victim::Agent => drop(world.agent.process.kill()?),
                Victim::Controller => drop(world.controllers[serving].process.kill()?),
                Victim::Chrome | Victim::Driver => signal(one_of(victim, world)?, Signal::Kill)?,
                Victim::Postgres => server(world)?.0.kill().await?,
            }
            Struck::Killed(victim, serving)
        }
        Fault::Stop(victim, span) => {
            let all = match victim {
                Victim::Agent => vec![world.agent.process.pid()],
                Victim::Controller => vec![world.controllers[world.agents.last_target()].process.pid()],
                Victim::Chrome => processes::tree(one_of(victim, world)?),
                Victim::Driver => vec![one_of(victim, world)?],
                Victim::Postgres => server(world)?.0.processes()?,
            };
            for pid in &all {
                // A child of Chrome or PostgreSQL may have ended by itself.
                drop(signal(*pid, Signal::Stop));
            }
            Struck::Stopped(all, span.duration())
        }
        Fault::Cut(link, span) => {
            way(link, world)?.set(Way::Cut);
            Struck::Cut(link, span.duration())
        }
    })
}

fn one_of(victim: Victim, world: &World) -> Result<u32> {
    let data = &world.agent.data;
    let found =
        if victim == Victim::Driver { processes::driver_of(data) } else { processes::chrome_of(data) };
    found.with_context(|| format!("no {victim:?} runs"))
}

fn server(world: &World) -> Result<&(crate::postgres::PrivatePostgres, Proxy)> {
    world.server.as_ref().context("there is no PostgreSQL")
}

fn way(link: Link, world: &World) -> Result<&Proxy> {
    Ok(match link {
        Link::Agents => &world.agents,
        Link::People => &world.people,
        Link::Database => &server(world)?.1,
    })
}

/// Lets go what is held on the way to the agent and by the site.
async fn release(case: &Case, world: &World) -> Result<()> {
    if case.point == Point::Requested {
        // The answer is lost for good.
        world.agents.cut();
    }
    if !matches!(case.fault, Fault::Cut(Link::Agents, _)) {
        world.agents.set(Way::Open);
    }
    world.site.fault(serde_json::json!({"release": true})).await
}

/// Ends the fault: what passes by itself has its time first.
async fn mend(struck: Struck, world: &mut World) -> Result<()> {
    match struck {
        Struck::Killed(Victim::Agent, _) => world.system.restart_agent(&mut world.agent).await,
        Struck::Killed(Victim::Controller, serving) => {
            world.system.restart_controller(&mut world.controllers[serving]).await
        }
        Struck::Killed(Victim::Postgres, _) => server(world)?.0.start_again().await,
        Struck::Killed(Victim::Chrome | Victim::Driver, _) => Ok(()),
        Struck::Stopped(all, span) => {
            tokio::time::sleep(span).await;
            for pid in all {
                // The agent ends a Chrome that does not answer.
                drop(signal(pid, Signal::Continue));
            }
            Ok(())
        }
        Struck::Cut(link, span) => {
            tokio::time::sleep(span).await;
            way(link, world)?.set(Way::Open);
            Ok(())
        }
    }
}

/// Waits until nothing more happens without a person; a posting that stays open is returned as it is.
async fn decided(world: &World, posting: &str) -> Result<Value> {
    let show = ["postings", "show", posting];
    let settled = async || {
        let shown = world.observer.json(&show).await?;
        let state = shown["state"].as_str().unwrap_or_default();
        if matches!(state, "published" | "failed" | "cancelled" | "needs_human") {
            return Ok(Some(shown));
        }
        bail!("{shown}")
    };
    match world.ask_until("the posting to be decided", DECIDED_WITHIN, settled).await {
        Ok(shown) => Ok(shown),
        Err(late) => world.observer.json(&show).await.with_context(|| format!("{late:#}")),
    }
}
