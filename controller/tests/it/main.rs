//! The controller with a real store, real TLS on loopback, and agents that follow a script instead of driving Chrome.

#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

mod access;
mod agent;
mod guard;
mod input;
mod matrix;
mod people;
mod person;
mod raw;
mod recovery;
mod system;
mod work;
