//! The controller with a real store, real TLS on loopback, and agents that follow a script instead of driving Chrome.

#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

mod access;
mod agent;
mod audit;
mod batch;
mod credentials;
mod feed;
mod fuzz;
mod guard;
mod identity;
mod input;
mod keys;
mod looks;
mod matrix;
mod pacing;
mod people;
mod person;
mod raw;
mod recovery;
mod restore;
mod system;
mod timekeeping;
mod work;
