//! Live streams of agents.
//!
//! - [`state`]: what a stream's frames mean, as a pure function.
//! - [`convert`]: frames from and to the wire.
//! - [`connection`]: the thin task around one stream.
//! - [`registry`]: which agents are attached here, how much they can take, and how to reach them.
//!
//! Level-triggered: nothing here must arrive exactly once. Whatever is lost is found by the next beat, the next greeting
//! or a sweep.

pub mod connection;
pub mod convert;
pub mod registry;
pub mod state;

pub use self::registry::Sessions;
