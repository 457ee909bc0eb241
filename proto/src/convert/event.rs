//! Events of the feed, and JSON as `google.protobuf.Struct`.

use prost_types::value::Kind;
use serde_json::Value;
use tradepost_domain::event::{Event, NewEvent, Subject};

use super::{text, time};
use crate::v1;

impl From<Event> for v1::Event {
    fn from(event: Event) -> Self {
        let Event { seq, at, event: NewEvent { workspace: _, kind, subject, data } } = event;
        let Subject { account, listing, posting, job, agent } = subject;
        Self {
            seq,
            at: Some(time::to_wire(at)),
            kind: kind.name().to_owned(),
            account_id: text(account),
            listing_id: text(listing),
            posting_id: text(posting),
            job_id: text(job),
            agent_id: text(agent),
            data: Some(to_struct(data)),
        }
    }
}

/// A JSON object on the wire; anything but an object becomes the object's only field `value`.
pub fn to_struct(value: Value) -> prost_types::Struct {
    match value {
        Value::Object(fields) => prost_types::Struct {
            fields: fields.into_iter().map(|(name, field)| (name, to_value(field))).collect(),
        },
        Value::Null => prost_types::Struct::default(),
        other => prost_types::Struct { fields: [("value".to_owned(), to_value(other))].into() },
    }
}

/// The JSON object that a message holds. Whole numbers come back as integers.
pub fn from_struct(message: prost_types::Struct) -> Value {
    let prost_types::Struct { fields } = message;
    Value::Object(fields.into_iter().map(|(name, field)| (name, from_value(field))).collect())
}

fn to_value(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        // The wire knows doubles only; a number beyond them cannot be written in JSON either.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(0.0)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(to_value).collect() })
        }
        object @ Value::Object(_) => Kind::StructValue(to_struct(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn from_value(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::NumberValue(number)) => number_from(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(from_value).collect()),
        Some(Kind::StructValue(fields)) => from_struct(fields),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "whole and within the integers that a double holds exactly"
)]
fn number_from(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Value::from(number as i64);
    }
    serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_objects_round_trip() {
        let value = json!({
            "state": "running", "seq": 12, "share": 0.25, "done": false, "none": null,
            "list": [1, "two", {"three": 3}], "nested": {"a": {"b": []}}
        });
        assert_eq!(from_struct(to_struct(value.clone())), value);
        assert_eq!(from_struct(to_struct(json!(5))), json!({"value": 5}));
        assert_eq!(from_struct(to_struct(Value::Null)), json!({}));
    }
}
