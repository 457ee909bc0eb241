//! The Tradepost agent: takes jobs from a controller and drives this PC's Chrome.
//!
//! - [`agent`]: how the parts of a running agent come together.
//! - [`session`]: the stream to the controller; its pure core decides what to run.
//! - [`runner`]: the runs, each with its own Chrome; here is the one click that cannot be undone.
//! - [`journal`]: what must be known after any crash.
//! - [`browser`]: Chrome through chromedriver.
//! - [`platform`]: what operating systems do differently.
//! - [`wake`]: noticing that the PC has slept.
//! - [`identity`], [`credentials`], [`photos`], [`evidence`]: what is kept on this PC.
//! - [`args`], [`config`], [`commands`]: the program around it.
//!
//! Invariants:
//! - The record of the coming click is on the disk before the click (I3); a click is sent at most once per permit.
//! - Whatever kills the agent, its Chrome ends within seconds, and the next start reports what is not reported yet.
//! - The key and the stored passwords never leave this PC.

pub mod agent;
pub mod args;
pub mod browser;
pub mod commands;
pub mod config;
pub mod credentials;
pub mod evidence;
pub mod identity;
pub mod journal;
pub mod photos;
pub mod platform;
pub mod runner;
pub mod session;
pub mod wake;
