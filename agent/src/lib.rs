//! The Tradepost agent: takes jobs from a controller and drives this PC's Chrome.

pub mod browser;
pub mod credentials;
pub mod evidence;
pub mod identity;
pub mod journal;
pub mod photos;
pub mod platform;
pub mod runner;
pub mod session;
