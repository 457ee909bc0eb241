//! Seeded simulation of whole fleets: several controllers on one database, agents on sellers' PCs, a marketplace, and everything
//! that can go wrong between them.
//!
//! What is real: the controller's use cases, dispatch rounds, sweeps, session registry, frame handling and error mapping; the
//! agent's session state, wire conversions, journal records and recovery; every decision of the domain; the store's rules, as
//! [`tradepost_store::model`] keeps them. What is simulated: time, the network, the database's latency and failures, disks, Chrome,
//! the site, people. The steps of the agent's runner are written down once more in `agent`, beside the real ones.
//!
//! - [`executor`]: one thread, virtual time, every choice from the seed: the same seed gives the same trace, byte for byte.
//! - [`plan`]: what goes wrong in a seed, and how often; bugs that can be put in on purpose.
//! - [`world`], [`fleet`]: what there is.
//! - [`controller`], [`agent`], [`net`], [`store`], [`site`]: the parts.
//! - [`storm`], [`people`]: what happens to them.
//! - [`check`]: what must hold.
//! - [`simulate`]: one seed from beginning to end. [`campaign`]: many.
//!
//! To add a fault: a rate or gap in [`plan::Plan`], its place (with [`world::World::fault`], which counts it), and its name in the
//! list of `tests/it/main.rs` that must have happened.

pub mod agent;
pub mod campaign;
pub mod check;
pub mod controller;
pub mod executor;
pub mod fleet;
pub mod net;
pub mod people;
pub mod plan;
pub mod simulate;
pub mod site;
pub mod store;
pub mod storm;
pub mod world;
