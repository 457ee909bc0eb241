//! The publication protocol as a whole, explored exhaustively.
//!
//! Controllers, database, agent, Chrome, network, site and people are composed into one finite system ([`model::Model`]) in
//! which everything that may happen is an action ([`action::Action`]): messages are lost, doubled, delayed and overtake each
//! other, processes die at every step, streams break and are taken over, deadlines pass, the PC sleeps, the site hides,
//! refuses and drops, people cancel, delete and decide. [`explorer::explore`] visits every reachable state once.
//!
//! The decisions are not modelled: they are made by `tradepost-domain` itself ([`rows`]), the very code that controller and
//! agent run. What is modelled is what surrounds them: which message is sent when, what is durable, what a crash forgets.
//!
//! In every state is checked: the invariants I1 to I7, I9 and I10, that no posting has two listings by our doing, that no
//! listing is lost behind a posting that has "failed", that a confirmation names the posting's own listing, and that from
//! each state an end, or a person, can be reached without further faults. I8 holds by construction: the model has no
//! clocks to compare but the agent's own.
//!
//! [`bug::Bug`] switches mistakes on, each of which the exploration must find. To add a message, a fault or a step: a
//! variant of [`action::Action`], when it may happen in [`model`], and what it does in [`agent`] or [`controller`].

pub mod action;
pub mod agent;
pub mod bug;
pub mod canon;
pub mod configuration;
pub mod controller;
pub mod explorer;
pub mod model;
pub mod rows;
pub mod world;
