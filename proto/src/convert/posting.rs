//! Postings and receipts.

use tradepost_domain::field::Violations;
use tradepost_domain::id::{AgentId, ContentHash};
use tradepost_domain::posting::{
    EvidenceRef, FieldCheck, Posting, Receipt, Resolution, State, Trail, Witness,
};
use tradepost_domain::publish::PublishedItem;

use super::{paired, time};
use crate::v1;

type WireState = v1::PostingState;
paired!(State, WireState: Queued, Running, Published, Uncertain, NeedsHuman, Failed, Cancelled);

impl v1::Posting {
    /// The posting with the sentence on what it waits for; empty when it does not wait.
    pub fn waiting(posting: Posting, waiting_for: String) -> Self {
        let Posting {
            id,
            workspace: _,
            listing,
            account,
            generation,
            state,
            job,
            intent: _,
            item,
            failure,
            created_at,
            updated_at,
            version: _,
        } = posting;
        Self {
            id: id.to_string(),
            listing_id: listing.to_string(),
            account_id: account.to_string(),
            generation,
            state: v1::PostingState::from(state).into(),
            job_id: job.to_string(),
            item: item.map(Into::into),
            failure: failure.map(Into::into),
            created_at: Some(time::to_wire(created_at)),
            updated_at: Some(time::to_wire(updated_at)),
            waiting_for,
        }
    }
}

impl From<PublishedItem> for v1::PublishedItem {
    fn from(item: PublishedItem) -> Self {
        let PublishedItem { item_id, url, strategy } = item;
        Self { item_id, url, strategy }
    }
}

impl TryFrom<v1::PublishedItem> for PublishedItem {
    type Error = Violations;

    fn try_from(message: v1::PublishedItem) -> Result<Self, Violations> {
        let v1::PublishedItem { item_id, url, strategy } = message;
        let mut violations = Violations::new();
        let item_id = violations.text("item.item_id", &item_id, 1, 200);
        let url = violations.text("item.url", &url, 1, 2_000);
        let strategy = violations.text("item.strategy", &strategy, 0, 80);
        violations.into_result(|| Some(Self { item_id, url, strategy }))
    }
}

impl From<FieldCheck> for v1::FieldCheck {
    fn from(check: FieldCheck) -> Self {
        let FieldCheck { field, wanted, found, matches } = check;
        Self { field, wanted, found, matches }
    }
}

impl From<v1::FieldCheck> for FieldCheck {
    fn from(message: v1::FieldCheck) -> Self {
        let v1::FieldCheck { field, wanted, found, matches } = message;
        Self { field, wanted, found, matches }
    }
}

impl From<EvidenceRef> for v1::EvidenceRef {
    fn from(evidence: EvidenceRef) -> Self {
        let EvidenceRef { name, sha256 } = evidence;
        Self { name, sha256 }
    }
}

impl From<Receipt> for v1::Receipt {
    fn from(receipt: Receipt) -> Self {
        let Receipt {
            item,
            baseline_count,
            read_back,
            evidence,
            recipe,
            agent,
            prepare_ms,
            confirm_ms,
            trail: Trail { witness, new_items, count_after, permit_ms, resolution },
        } = receipt;
        Self {
            item: Some(item.into()),
            baseline_count: number(baseline_count),
            read_back: read_back.into_iter().map(Into::into).collect(),
            evidence: evidence.into_iter().map(Into::into).collect(),
            recipe,
            agent_id: agent.to_string(),
            prepare_ms,
            confirm_ms,
            witness: witness.name().to_owned(),
            new_item_ids: new_items,
            count_after: count_after.map(number),
            permit_ms,
            resolution: resolution.map(|Resolution { by, at, looks, question }| v1::Resolution {
                by,
                at: Some(time::to_wire(at)),
                looks,
                question,
            }),
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Most new listings that a receipt names.
const NEW_MAX: usize = 50;

/// A receipt as `agent` reports it: who posted is known from its certificate, so the message's `agent_id` is not read.
pub fn receipt_of(agent: AgentId, message: v1::Receipt) -> Result<Receipt, Violations> {
    let v1::Receipt {
        item,
        baseline_count,
        read_back,
        evidence,
        recipe,
        agent_id: _,
        prepare_ms,
        confirm_ms,
        // Who saw it is known from the call, and a person's word never comes from an agent.
        witness: _,
        new_item_ids,
        count_after,
        permit_ms,
        resolution: _,
    } = message;
    let mut violations = Violations::new();
    let item = match item.map(PublishedItem::try_from) {
        None => {
            violations.push("receipt.item", "is missing");
            None
        }
        Some(Ok(item)) => Some(item),
        Some(Err(Violations(found))) => {
            violations.0.extend(found);
            None
        }
    };
    if read_back.len() > 100 || evidence.len() > 100 {
        violations.push("receipt", "has more than 100 fields or evidence files");
    }
    if new_item_ids.len() > NEW_MAX || new_item_ids.iter().any(|id| id.chars().count() > 200) {
        violations.push("receipt.new_item_ids", "are more than 50, or longer than 200 characters");
    }
    let named = evidence_of(&mut violations, "receipt.evidence", evidence);
    let recipe = violations.text("receipt.recipe", &recipe, 0, 200);
    violations.into_result(|| {
        Some(Receipt {
            item: item?,
            baseline_count: usize::try_from(baseline_count).ok()?,
            read_back: read_back.into_iter().map(Into::into).collect(),
            evidence: named,
            recipe,
            agent,
            prepare_ms,
            confirm_ms,
            trail: Trail {
                witness: Witness::Run,
                new_items: new_item_ids,
                count_after: count_after.and_then(|count| usize::try_from(count).ok()),
                permit_ms,
                resolution: None,
            },
        })
    })
}

/// Evidence files as an agent names them.
pub(super) fn evidence_of(
    violations: &mut Violations,
    field: &str,
    evidence: Vec<v1::EvidenceRef>,
) -> Vec<EvidenceRef> {
    let mut named = Vec::with_capacity(evidence.len().min(100));
    for (n, v1::EvidenceRef { name, sha256 }) in evidence.into_iter().enumerate() {
        violations.check(&format!("{field}[{n}].sha256"), sha256.parse::<ContentHash>());
        named.push(EvidenceRef { name, sha256 });
    }
    named
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::convert::FromWire;

    fn receipt() -> Receipt {
        Receipt {
            item: PublishedItem {
                item_id: "7".into(),
                url: "http://x/7".into(),
                strategy: "id_in_url".into(),
            },
            baseline_count: 3,
            read_back: vec![FieldCheck {
                field: "title".into(),
                wanted: "a".into(),
                found: "a".into(),
                matches: true,
            }],
            evidence: vec![EvidenceRef {
                name: "after.png".into(),
                sha256: ContentHash::of(b"x").to_string(),
            }],
            recipe: "sandbox/publish@1".into(),
            agent: AgentId(Uuid::from_u128(5)),
            prepare_ms: 10,
            confirm_ms: 20,
            trail: Trail {
                new_items: vec!["7".into()],
                count_after: Some(4),
                permit_ms: 9,
                ..Trail::default()
            },
        }
    }

    #[test]
    fn receipts_round_trip_and_the_agent_is_who_the_certificate_says() {
        let given = receipt();
        let forged = v1::Receipt { agent_id: Uuid::from_u128(6).to_string(), ..given.clone().into() };
        assert_eq!(receipt_of(given.agent, forged), Ok(given));
    }

    #[test]
    fn an_empty_receipt_is_refused() {
        assert!(receipt_of(AgentId(Uuid::nil()), v1::Receipt::default()).is_err());
        let mut bad: v1::Receipt = receipt().into();
        bad.evidence[0].sha256 = "zz".into();
        bad.item = Some(v1::PublishedItem::default());
        let violations = receipt_of(AgentId(Uuid::nil()), bad).expect_err("three fields are wrong");
        assert_eq!(violations.0.len(), 3);
    }

    #[test]
    fn states_round_trip() {
        for state in State::ALL {
            assert_eq!(State::from_wire(v1::PostingState::from(state).into()), Ok(Some(state)));
        }
    }
}
