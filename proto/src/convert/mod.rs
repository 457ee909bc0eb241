//! Conversions between messages and domain types, one file per noun.
