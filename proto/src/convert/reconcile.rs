//! Looks at an account's own listings.

use tradepost_domain::field::Violations;
use tradepost_domain::reconcile::{Look, SeenItem};

use crate::v1;

impl From<Look> for v1::LookReport {
    fn from(look: Look) -> Self {
        let Look { items, whole } = look;
        let items = items
            .into_iter()
            .map(|SeenItem { item_id, url, matches }| v1::SeenItem { item_id, url, matches })
            .collect();
        Self { items, whole }
    }
}

impl TryFrom<v1::LookReport> for Look {
    type Error = Violations;

    fn try_from(message: v1::LookReport) -> Result<Self, Violations> {
        let v1::LookReport { items, whole } = message;
        let mut violations = Violations::new();
        let mut seen = Vec::with_capacity(items.len());
        for (n, v1::SeenItem { item_id, url, matches }) in items.into_iter().enumerate() {
            let item_id = violations.text(&format!("look.items[{n}].item_id"), &item_id, 1, 200);
            let url = violations.text(&format!("look.items[{n}].url"), &url, 0, 2_000);
            seen.push(SeenItem { item_id, url, matches });
        }
        violations.into_result(|| Some(Self { items: seen, whole }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_round_trip() {
        let item = SeenItem { item_id: "1".into(), url: "http://x/1".into(), matches: true };
        let look = Look { items: vec![item], whole: true };
        assert_eq!(Look::try_from(v1::LookReport::from(look.clone())), Ok(look));
    }
}
