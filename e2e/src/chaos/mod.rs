//! Chaos on real processes: one fault at one exact point of a posting's life, and the sites' own records as the judge.
//!
//! - [`case`]: which fault, at which point, on which site and database; drawn from a seed.
//! - [`gate`]: stops the agent exactly behind a record of its journal.
//! - [`world`]: everything that runs, and the connections between.
//! - [`act`]: reaching the point, striking, and mending.
//! - [`judge`]: what the site has, compared with what the controllers say.
//! - [`table`]: the result.
//!
//! How a point is reached without sleeps and without hooks in the programs is said in `docs/TESTING.md`.

pub mod act;
pub mod case;
pub mod gate;
pub mod judge;
pub mod table;
pub mod world;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::case::{Case, Database};
use self::judge::Verdict;
use self::world::World;
use crate::sites::Kind;

/// In a longer series each account has a listing from before: without one, a look has no control and proves no absence.
const PRIMED_ABOVE: usize = 10;

/// Runs the cases, those of the same site and database one after the other in one world. Worlds live below `directory`;
/// that of a failing case is kept there.
pub async fn run(cases: &[Case], directory: &Path) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    let many = cases.len() > PRIMED_ABOVE;
    for site in [Kind::Sandbox, Kind::Classified] {
        for database in [Database::Sqlite, Database::Postgres] {
            let mut world: Option<(World, PathBuf)> = None;
            for case in cases.iter().filter(|case| case.site == site && case.database == database) {
                let (current, home) = match world.take() {
                    Some(world) => world,
                    None => {
                        let home = directory.join(format!("from-case-{}", case.number));
                        let built = build(case, &home, many).await;
                        (built.with_context(|| format!("the world of {case}"))?, home)
                    }
                };
                let (verdict, current) = one(*case, current).await;
                say(&verdict.line());
                if verdict.is_clean() {
                    world = Some((current, home));
                } else {
                    let report = format!("{}\n{}\n", verdict.line(), verdict.problems.join("\n"));
                    drop(current);
                    std::fs::write(home.join("verdict.txt"), report)?;
                    say(&format!("  kept: {}", home.display()));
                }
                verdicts.push(verdict);
            }
            if let Some((world, home)) = world {
                drop(world);
                std::fs::remove_dir_all(home)?;
            }
        }
    }
    Ok(verdicts)
}

async fn build(case: &Case, home: &Path, primed: bool) -> Result<World> {
    let world = World::build(home, case.site, case.database).await?;
    if primed {
        act::prime(case, &world).await?;
    }
    Ok(world)
}

async fn one(case: Case, mut world: World) -> (Verdict, World) {
    let verdict = match act::play(&case, &mut world).await {
        Ok(verdict) => verdict,
        Err(error) => Verdict::broken(case, format!("{error:#}")),
    };
    (verdict, world)
}

/// Progress, on standard error.
pub fn say(line: &str) {
    // Nobody may be listening.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
