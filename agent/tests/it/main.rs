//! The agent against real processes, and against a controller that the test scripts.

mod browser;
mod containment;
mod controller;
mod journal;
mod publish;
mod session;
mod site;
