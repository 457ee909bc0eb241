//! End-to-end tests.

mod audit;
mod bad_input;
#[cfg(target_os = "linux")]
mod chaos;
mod crashes;
mod main_flow;
#[cfg(target_os = "linux")]
mod orphans;
mod restore;
mod users;
