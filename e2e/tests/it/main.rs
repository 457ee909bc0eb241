//! End-to-end tests.

mod bad_input;
mod crashes;
mod main_flow;
mod users;
