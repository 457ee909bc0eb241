//! Holding a request: the site has heard it, or has done it, and says nothing until it is told to.
//!
//! A held request is carried out to its end whatever becomes of its connection, as on a site whose work goes on when the
//! browser is gone.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Which request is held, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The request's method; POST when left out.
    #[serde(default = "post")]
    pub method: String,
    /// The beginning of the request's path, such as `/api/publish`.
    pub path: String,
    /// Before or after it is carried out.
    pub when: When,
}

/// When a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// It was received whole, and nothing was done.
    Before,
    /// Everything was done, and nothing was answered.
    After,
}

/// How it stands with holding; told by `GET /__control__`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Standing {
    /// The next request like this is held.
    pub(crate) hold: Option<Hold>,
    /// A request that is held now.
    pub(crate) holding: Option<Hold>,
}

/// The one request that may be held at a time.
#[derive(Debug, Default)]
pub(crate) struct Holds(watch::Sender<Standing>);

fn post() -> String {
    "POST".to_owned()
}

impl Holds {
    /// Holds the next request like `hold`; one that is held already stays so.
    pub(crate) fn ask(&self, hold: Hold) {
        self.0.send_modify(|standing| standing.hold = Some(hold));
    }

    /// Lets the held request go, and forgets a wish to hold one.
    pub(crate) fn release(&self) {
        self.0.send_replace(Standing::default());
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        self.0.borrow().clone()
    }

    /// Whether this request is the one to hold; then it counts as held from now on.
    pub(crate) fn take(&self, method: &str, path: &str) -> Option<When> {
        let mut taken = None;
        self.0.send_if_modified(|standing| {
            let like = |hold: &Hold| hold.method == method && path.starts_with(&hold.path);
            if standing.holding.is_none() && standing.hold.as_ref().is_some_and(like) {
                standing.holding = standing.hold.take();
                taken = standing.holding.as_ref().map(|hold| hold.when);
            }
            taken.is_some()
        });
        taken
    }

    /// Resolves when the held request may go on.
    pub(crate) async fn released(&self) {
        // The sender lives as long as this value.
        drop(self.0.subscribe().wait_for(|standing| standing.holding.is_none()).await);
    }
}
