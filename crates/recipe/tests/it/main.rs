//! The engine over a page in memory.

#![expect(clippy::expect_used, reason = "a test ends with the reason of what it expected")]

mod fake;
mod session;
