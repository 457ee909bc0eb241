//! Recipes: how to do one job on one site, as data, and the engine that follows them.
//!
//! - [`schema`]: the YAML of a recipe; [`check`] refuses what would break with the site's next deployment.
//! - [`pack`]: a site's labels, categories, limits and interruptions, in `pack.yaml` beside its recipes.
//! - [`catalogue`]: the recipes built into this program.
//! - [`page`]: `trait Page`, all that the engine asks of a browser. No WebDriver here.
//! - [`session`]: one job's walk over a page in phases: sign-in check, baseline, prepare, revalidate, commit, confirm,
//!   read back, scan.
//! - [`normal`]: when two texts count as the same, however the site reformats them.
//!
//! Invariants:
//! - `commit` makes exactly one click, through [`page::Page::press_once`], and nothing in this crate ever repeats it.
//! - Whatever is put into a form is read back from it; what was only sent counts for nothing.
//! - The page's identity is asserted after each navigation, and the site's interruptions are looked for in each
//!   call to the page, so that a step never goes on over a login form or a limit notice.
//! - Navigation stays on the origin of the account's `site_url`.
//!
//! To add a word to the vocabulary: a field of [`schema::Step`], its arm in `session/steps.rs`, its checks in
//! [`check`], and, when the page has to do something new, a method of [`page::Page`].

pub mod catalogue;
pub mod check;
pub mod locate;
pub mod normal;
pub mod pack;
pub mod page;
pub mod schema;
pub mod session;
pub mod template;
pub mod until;
pub mod values;
