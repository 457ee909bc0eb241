//! The agent against real processes.

mod browser;
