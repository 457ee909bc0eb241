//! The controller with a real store, real TLS on loopback, and agents that follow a script instead of driving Chrome.

mod access;
mod agent;
mod input;
mod recovery;
mod system;
mod work;
