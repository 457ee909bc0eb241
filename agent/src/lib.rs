//! The Tradepost agent: takes jobs from a controller and drives this PC's Chrome.

pub mod browser;
pub mod journal;
pub mod platform;
