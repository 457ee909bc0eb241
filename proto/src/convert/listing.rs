//! Listings.

use tradepost_domain::field::Violations;
use tradepost_domain::listing::{Condition, Content, Draft, Listing};

use super::{FromWire, etag, paired, time};
use crate::v1;

type WireCondition = v1::Condition;
paired!(Condition, WireCondition: New, LikeNew, Good, Fair);

impl From<Content> for v1::ListingContent {
    fn from(content: Content) -> Self {
        let Content { title, description, price, category, condition, location, sku, attributes, photos } =
            content;
        Self {
            title,
            description,
            price: Some(price.into()),
            category,
            condition: v1::Condition::from(condition).into(),
            location,
            sku,
            attributes: attributes.into_iter().collect(),
            photo_ids: photos.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<v1::ListingContent> for Content {
    type Error = Violations;

    fn try_from(message: v1::ListingContent) -> Result<Self, Violations> {
        let v1::ListingContent {
            title,
            description,
            price,
            category,
            condition,
            location,
            sku,
            attributes,
            photo_ids,
        } = message;
        let mut violations = Violations::new();
        let condition = violations.check("condition", Condition::from_wire(condition));
        let unknown_condition = condition.is_none();
        let no_price = price.is_none();
        let (price_minor, currency) = price
            .map_or((0, String::new()), |v1::Money { minor_units, currency_code }| {
                (minor_units, currency_code)
            });
        if no_price {
            violations.push("price", "is missing");
        }
        let draft = Draft {
            title,
            description,
            price_minor,
            currency,
            category,
            condition: condition.flatten(),
            location,
            sku,
            attributes: attributes.into_iter().collect(),
            photos: photo_ids,
        };
        let checked = draft.check();
        if let Err(Violations(found)) = &checked {
            // A field that is already complained about once needs no second complaint.
            violations.0.extend(
                found
                    .iter()
                    .filter(|v| !(no_price && v.field.starts_with("price")))
                    .filter(|v| !(unknown_condition && v.field == "condition"))
                    .cloned(),
            );
        }
        violations.into_result(|| checked.ok())
    }
}

impl From<Listing> for v1::Listing {
    fn from(listing: Listing) -> Self {
        let Listing { id, workspace: _, content, created_at, updated_at, version } = listing;
        Self {
            id: id.to_string(),
            content: Some(content.into()),
            created_at: Some(time::to_wire(created_at)),
            updated_at: Some(time::to_wire(updated_at)),
            etag: etag(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use tradepost_domain::id::PhotoId;
    use tradepost_domain::money::Money;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn content_round_trips() {
        let content = Content {
            title: "Oak table".into(),
            description: "Two lines\nof text".into(),
            price: Money::parse("120", "EUR".parse().expect("known")).expect("valid"),
            category: "Home > Furniture".into(),
            condition: Condition::LikeNew,
            location: "Berlin".into(),
            sku: "T-1".into(),
            attributes: [("material".to_owned(), "oak".to_owned())].into(),
            photos: vec![PhotoId(Uuid::from_u128(1)), PhotoId(Uuid::from_u128(2))],
        };
        assert_eq!(Content::try_from(v1::ListingContent::from(content.clone())), Ok(content));
    }

    #[test]
    fn every_violation_is_reported_and_none_twice() {
        let violations = Content::try_from(v1::ListingContent { condition: 99, ..Default::default() })
            .expect_err("everything is missing");
        let fields: Vec<_> = violations.0.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["condition", "price", "title", "category", "location"]);
    }
}
