//! Faults and variants: how the site is told to misbehave, for every account, for one, or for the next request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::account::{Account, Labels};
use crate::hold::Hold;

/// Trouble that can be called for. Everything is off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each fault is switched by itself; any combination is meant"
)]
pub struct Faults {
    /// Publish: the item is stored, then the connection is cut with no reply.
    pub accept_then_drop: bool,
    /// Publish: the item is stored, then the answer is 500.
    pub error_after_commit: bool,
    /// Publish: the answer is 500 and nothing was stored.
    pub error_before_commit: bool,
    /// Publish: the form is refused with this message.
    pub reject: Option<String>,
    /// Publish: "Limit reached".
    pub limit_reached: bool,
    /// What the dialog of the limit says besides, e.g. "You can post again on or after 5 March 2027."
    pub limit_says: Option<String>,
    /// Publish: milliseconds between storing and answering.
    pub slow_publish_ms: u64,
    /// Publish: milliseconds during which no page shows the new item.
    pub delayed_visibility_ms: u64,
    /// Publish: the item waits for review.
    pub review: bool,
    /// Upload: the n-th photo from now on fails, once.
    pub photo_fail: u32,
    /// Composer: choosing a category empties the title.
    pub rerender_clears_title: bool,
    /// Any request: the session ends, once.
    pub logout_now: bool,
}

/// The ways in which the site differs between accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each difference is switched by itself")]
pub struct Variant {
    /// ISO 4217 code of the prices.
    pub currency: String,
    /// Wording.
    pub labels: Labels,
    /// Whether text inputs carry an `aria-label` besides their label.
    pub aria_labels: bool,
    /// Whether the composer fills in the account's place.
    pub location_prefilled: bool,
    /// Whether "More details" is open from the start.
    pub more_details_open: bool,
    /// Whether "Promote listing after publish" is on from the start.
    pub promote_default: bool,
    /// How many of the groups are ticked from the start.
    pub groups_ticked: usize,
    /// Whether the cards on Your listings link to the item.
    pub card_links: bool,
    /// Where Publish leads.
    pub after_publish: AfterPublish,
    /// Milliseconds that each photo takes to upload at least.
    pub upload_ms: u64,
}

/// Where a successful Publish leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterPublish {
    /// To Your listings.
    Selling,
    /// To the new item's page.
    Item,
    /// Nowhere: a dialog says that it is done.
    Stay,
}

/// Which requests use up a fault that was set for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Publish.
    Publish,
    /// Opening the composer.
    Composer,
}

/// An instruction of `POST /__control__`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instruction {
    /// E-mail address; without one the instruction is for every account.
    pub account: Option<String>,
    /// First forget all faults and variants (of the account, or all there are).
    pub reset: bool,
    /// Faults in force until changed; null switches one off.
    pub faults: Map<String, Value>,
    /// Faults for the next request that they concern.
    pub next: Map<String, Value>,
    /// Differences of the site; null goes back to the account's own.
    pub variant: Map<String, Value>,
    /// Let every item in review through.
    pub release_reviews: bool,
    /// End all sessions.
    pub logout: bool,
    /// Put older items on the site.
    pub seed: Option<Seed>,
    /// Hold the next request like this.
    pub hold: Option<Hold>,
    /// Let the held request go, and hold none.
    pub release: bool,
}

/// Items to put on the site, so that a list is long or a title is not unique.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// How many, 1 to 5000.
    pub count: u32,
    /// Title of all; without one each gets its own.
    pub title: Option<String>,
}

/// What has been called for: by default, per account, and for next requests.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Control {
    every: Wishes,
    accounts: BTreeMap<String, Wishes>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Wishes {
    faults: Map<String, Value>,
    next: Map<String, Value>,
    variant: Map<String, Value>,
}

const PUBLISH: &[&str] = &[
    "accept_then_drop",
    "error_after_commit",
    "error_before_commit",
    "reject",
    "limit_reached",
    "limit_says",
    "slow_publish_ms",
    "delayed_visibility_ms",
    "review",
];
const COMPOSER: &[&str] = &["rerender_clears_title"];

// === impl Faults ===

impl Faults {
    /// The names of the faults of `group` that are on.
    pub fn names(&self, group: Group) -> Vec<String> {
        let Ok(Value::Object(all)) = serde_json::to_value(self) else { return Vec::new() };
        let off =
            |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || value.as_u64() == Some(0);
        let on = |name: &&&str| all.get(**name).is_some_and(|value| !off(value));
        group.faults().iter().filter(on).map(|&name| name.to_owned()).collect()
    }
}

// === impl Group ===

impl Group {
    fn faults(self) -> &'static [&'static str] {
        match self {
            Self::Publish => PUBLISH,
            Self::Composer => COMPOSER,
        }
    }
}

// === impl Variant ===

impl Variant {
    fn of(account: &Account) -> Self {
        Self {
            currency: account.currency.to_owned(),
            labels: account.labels,
            aria_labels: false,
            location_prefilled: true,
            more_details_open: false,
            promote_default: false,
            groups_ticked: 0,
            card_links: true,
            after_publish: AfterPublish::Selling,
            upload_ms: 40,
        }
    }
}

// === impl Control ===

impl Control {
    /// Changes what is called for. On an error nothing is changed and the text names the field.
    pub fn apply(&mut self, instruction: &Instruction, accounts: &[Account]) -> Result<(), String> {
        let Instruction {
            account,
            reset,
            faults,
            next,
            variant,
            release_reviews: _,
            logout: _,
            seed,
            hold: _,
            release: _,
        } = instruction;
        if seed.as_ref().is_some_and(|seed| !(1..=5000).contains(&seed.count)) {
            return Err("seed: count must be between 1 and 5000".to_owned());
        }
        let mut changed = self.clone();
        if *reset {
            match account {
                Some(email) => drop(changed.accounts.remove(email)),
                None => changed = Self::default(),
            }
        }
        let wishes = match account {
            Some(email) if accounts.iter().all(|known| known.email != *email) => {
                return Err(format!(
                    "account {email:?} does not exist; there are {} sellers",
                    accounts.len()
                ));
            }
            Some(email) => changed.accounts.entry(email.clone()).or_default(),
            None => &mut changed.every,
        };
        patch(&mut wishes.faults, faults);
        patch(&mut wishes.next, next);
        patch(&mut wishes.variant, variant);
        check::<Faults>(&wishes.faults).map_err(|error| format!("faults: {error}"))?;
        check::<Faults>(&wishes.next).map_err(|error| format!("next: {error}"))?;
        for known in accounts.iter().take(1) {
            let mut all = as_map(&Variant::of(known));
            patch(&mut all, &wishes.variant);
            check::<Variant>(&all).map_err(|error| format!("variant: {error}"))?;
        }
        *self = changed;
        Ok(())
    }

    /// The variant of `account`.
    pub fn variant(&self, account: &Account) -> Variant {
        let own = Variant::of(account);
        let mut all = as_map(&own);
        patch(&mut all, &self.every.variant);
        if let Some(wishes) = self.accounts.get(&account.email) {
            patch(&mut all, &wishes.variant);
        }
        // Every part was checked when it was set.
        serde_json::from_value(Value::Object(all)).unwrap_or(own)
    }

    /// The faults in force for a request of `account`; uses up those of `group` that were set for the next one.
    pub fn take(&mut self, account: &str, group: Group) -> Faults {
        let mut all = Map::new();
        let wishes = self.accounts.get(account);
        for part in [Some(&self.every), wishes].into_iter().flatten() {
            patch(&mut all, &part.faults);
        }
        for part in [Some(&self.every), wishes].into_iter().flatten() {
            patch(&mut all, &part.next);
        }
        for wishes in [Some(&mut self.every), self.accounts.get_mut(account)].into_iter().flatten() {
            wishes.next.retain(|name, _| !group.faults().contains(&name.as_str()));
        }
        serde_json::from_value(Value::Object(all)).unwrap_or_default()
    }

    /// Whether the upload that is just arriving is the one to fail.
    pub fn take_photo_failure(&mut self, account: &str) -> bool {
        let Some(wish) = self.single(account, "photo_fail") else { return false };
        let left = wish.get("photo_fail").and_then(Value::as_u64).unwrap_or(0);
        if left > 1 {
            wish.insert("photo_fail".to_owned(), (left - 1).into());
            return false;
        }
        wish.remove("photo_fail");
        left == 1
    }

    /// Whether the session of the request that is just arriving shall end.
    pub fn take_logout(&mut self, account: &str) -> bool {
        self.single(account, "logout_now")
            .and_then(|wish| wish.remove("logout_now"))
            .is_some_and(|value| value == Value::Bool(true))
    }

    /// The place where a fault that strikes once stands: the account's own before everybody's.
    fn single(&mut self, account: &str, name: &str) -> Option<&mut Map<String, Value>> {
        let own = self.accounts.get_mut(account).into_iter();
        own.chain([&mut self.every])
            .flat_map(|wishes| [&mut wishes.next, &mut wishes.faults])
            .find(|wish| wish.contains_key(name))
    }
}

/// Merges `changes` into `values`; null removes.
fn patch(values: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() {
            values.remove(name);
        } else {
            values.insert(name.clone(), value.clone());
        }
    }
}

fn as_map(variant: &Variant) -> Map<String, Value> {
    match serde_json::to_value(variant) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn check<T: serde::de::DeserializeOwned>(values: &Map<String, Value>) -> Result<(), serde_json::Error> {
    serde_json::from_value::<T>(Value::Object(values.clone())).map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn instruction(value: Value) -> Instruction {
        serde_json::from_value(value).expect("an instruction")
    }

    #[test]
    fn next_fault_is_used_up_and_the_lasting_one_stays() {
        let accounts = Account::sellers(2);
        let mut control = Control::default();
        let wish = json!({"account": "seller1@example.com", "faults": {"review": true}, "next": {"accept_then_drop": true}});
        control.apply(&instruction(wish), &accounts).expect("applies");
        let first = control.take("seller1@example.com", Group::Publish);
        assert_eq!(first.names(Group::Publish), ["accept_then_drop", "review"]);
        assert_eq!(control.take("seller1@example.com", Group::Publish).names(Group::Publish), ["review"]);
        assert!(control.take("seller2@example.com", Group::Publish).names(Group::Publish).is_empty());
    }

    #[test]
    fn nth_photo_fails_once() {
        let mut control = Control::default();
        control.apply(&instruction(json!({"faults": {"photo_fail": 2}})), &[]).expect("applies");
        let failed: Vec<bool> = (0..4).map(|_| control.take_photo_failure("a")).collect();
        assert_eq!(failed, [false, true, false, false]);
    }

    #[test]
    fn unknown_names_and_accounts_change_nothing() {
        let accounts = Account::sellers(1);
        let mut control = Control::default();
        for (wish, part) in [
            (json!({"faults": {"review": true, "explode": true}}), "explode"),
            (json!({"variant": {"currency": 5}}), "variant"),
            (json!({"account": "nobody@example.com"}), "nobody@example.com"),
        ] {
            let error = control.apply(&instruction(wish), &accounts).expect_err("refused");
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(control.take("seller1@example.com", Group::Publish), Faults::default());
    }
}
