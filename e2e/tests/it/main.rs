//! End-to-end tests.

mod audit;
mod bad_input;
mod canary;
#[cfg(target_os = "linux")]
mod chaos;
mod crashes;
mod credentials;
mod main_flow;
#[cfg(target_os = "linux")]
mod orphans;
mod restore;
mod users;
