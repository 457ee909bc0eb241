//! The wire contract of Tradepost: generated messages and services, and their conversions to domain types.
//!
//! Conversions live in [`convert`], one file per noun: receiving validates (`TryFrom`), sending cannot fail (`From`).
//! Every message and every domain type is destructured whole there, so that a new field breaks the build until it is
//! converted.
//!
//! To add a method: its messages in `tradepost/v1/<noun>.proto`, a conversion here, a row in the controller's table of
//! who may call it.

pub mod convert;
pub mod enrolment;

/// Generated from `tradepost/v1/*.proto`; the comments there are the reference documentation.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::large_enum_variant,
    clippy::allow_attributes,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("tradepost.v1");
}

/// The encoded descriptors of all services, for server reflection and for tests that walk every method.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
