//! The wire contract of Tradepost: generated messages and services, and their conversions to domain types.
//!
//! Conversions live here, one file per noun in [`convert`]: receiving validates (`TryFrom`), sending cannot fail (`From`).

pub mod convert;
pub mod enrolment;

/// Generated from `tradepost/v1/*.proto`; the comments there are the reference documentation.
#[expect(missing_docs, clippy::pedantic, unreachable_pub, clippy::allow_attributes, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("tradepost.v1");
}

/// The encoded descriptors of all services, for server reflection and for tests that walk every method.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
