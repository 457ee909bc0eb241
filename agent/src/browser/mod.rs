//! Chrome through chromedriver, behind [`tradepost_recipe::page::Page`]. The only place that names thirtyfour.
//!
//! - [`programs`]: finding Chrome and chromedriver, and whether their versions fit.
//! - [`driver`]: the chromedriver process.
//! - [`chrome`]: one browser session in one account's profile directory.
//! - `page`: the recipe engine's page over that session; one script call waits, acts and reads back.
//! - [`evidence`]: screenshot, page snapshot, console.
//!
//! Invariants:
//! - chromedriver, and Chrome with it, die with this process: chromedriver is started through the platform's
//!   [`Containment`], and Chrome talks to it over a pipe whose end closes Chrome.
//! - The click of a fence is one WebDriver command, sent once.
//! - `navigator.webdriver` stays as the browser sets it.

pub mod chrome;
pub mod driver;
pub mod evidence;
mod page;
pub mod programs;
mod script;

pub use chrome::{Browser, BrowserOptions, Display, Pids};
pub use driver::Containment;
pub use evidence::{Screenshot, Snapshot};
pub use programs::{Programs, SearchPlaces};
