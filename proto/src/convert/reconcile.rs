//! Looks at an account's own listings.

use tradepost_domain::field::Violations;
use tradepost_domain::reconcile::{Look, LookRecord, ReadPage, SeenItem};

use super::{posting, time};
use crate::v1;

/// Most listings, fields or files that one look reports.
const MOST: usize = 1_000;

impl From<Look> for v1::LookReport {
    fn from(look: Look) -> Self {
        let Look { items, whole, total, page, evidence } = look;
        let items = items
            .into_iter()
            .map(|SeenItem { item_id, url, matches }| v1::SeenItem { item_id, url, matches })
            .collect();
        let page = page.map(|page| {
            let ReadPage { item_id, read_back, recipe } = *page;
            v1::ReadPage { item_id, read_back: read_back.into_iter().map(Into::into).collect(), recipe }
        });
        let evidence = evidence.into_iter().map(Into::into).collect();
        Self { items, whole, total: number(total), page, evidence }
    }
}

impl TryFrom<v1::LookReport> for Look {
    type Error = Violations;

    fn try_from(message: v1::LookReport) -> Result<Self, Violations> {
        let v1::LookReport { items, whole, total, page, evidence } = message;
        let mut violations = Violations::new();
        if items.len() > MOST || evidence.len() > MOST {
            violations.push("look", "has more than 1,000 listings or files");
        }
        let mut seen = Vec::with_capacity(items.len().min(MOST));
        for (n, v1::SeenItem { item_id, url, matches }) in items.into_iter().take(MOST).enumerate() {
            let item_id = violations.text(&format!("look.items[{n}].item_id"), &item_id, 1, 200);
            let url = violations.text(&format!("look.items[{n}].url"), &url, 0, 2_000);
            seen.push(SeenItem { item_id, url, matches });
        }
        let evidence = posting::evidence_of(&mut violations, "look.evidence", evidence);
        let page = page.map(|v1::ReadPage { item_id, read_back, recipe }| {
            let item_id = violations.text("look.page.item_id", &item_id, 1, 200);
            let recipe = violations.text("look.page.recipe", &recipe, 0, 200);
            let read_back = read_back.into_iter().take(100).map(Into::into).collect();
            Box::new(ReadPage { item_id, read_back, recipe })
        });
        let total = usize::try_from(total).unwrap_or(usize::MAX).max(seen.len());
        violations.into_result(|| Some(Self { items: seen, whole, total, page, evidence }))
    }
}

impl From<LookRecord> for v1::Look {
    fn from(look: LookRecord) -> Self {
        let LookRecord { seq, job, generation, at, whole, total, before, known_seen, new, verdict } = look;
        Self {
            seq,
            generation,
            job_id: job.to_string(),
            at: Some(time::to_wire(at)),
            whole,
            total: number(total),
            before: number(before),
            known_seen: number(known_seen),
            new_items: new
                .into_iter()
                .map(|SeenItem { item_id, url, matches }| v1::NewItem { item_id, url, matches })
                .collect(),
            verdict,
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use tradepost_domain::id::ContentHash;
    use tradepost_domain::posting::{EvidenceRef, FieldCheck};

    use super::*;

    #[test]
    fn looks_round_trip() {
        let item = SeenItem { item_id: "1".into(), url: "http://x/1".into(), matches: true };
        let check =
            FieldCheck { field: "title".into(), wanted: "a".into(), found: "a".into(), matches: true };
        let page = ReadPage { item_id: "1".into(), read_back: vec![check], recipe: "publish@1".into() };
        let sha256 = ContentHash::of(b"x").to_string();
        let look = Look {
            items: vec![item],
            whole: true,
            total: 9,
            page: Some(Box::new(page)),
            evidence: vec![EvidenceRef { name: "look.png".into(), sha256 }],
        };
        assert_eq!(Look::try_from(v1::LookReport::from(look.clone())), Ok(look));
    }
}
