//! The engine over a page in memory.

mod fake;
mod session;
