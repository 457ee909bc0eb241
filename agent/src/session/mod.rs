//! The agent's side of the conversation with its controller. The only place, with [`crate::evidence`], that knows messages.
//!
//! - [`frame`]: what is said, in the agent's own types.
//! - [`link`]: `trait ControllerLink`, so that tests script the controller, and what can go wrong with it.
//! - [`remote`]: the link over mutual TLS.
//! - [`state`]: the pure core: a frame comes in, actions come out.
//! - [`keeper`]: keeps the certificate fresh, and gets a new one when it has ended.
//! - [`live`]: the thin task around it: connect, reconnect with jitter, heartbeat.
//! - `reconnect`: when to try for the next stream.
//! - [`settler`]: tells the controller what became of permits until it has answered, also after a restart.
//! - [`enrol`]: how an agent becomes known.
//!
//! The stream is level-triggered: the agent says which runs it has, the controller which it should have. Runs live on while
//! there is no stream; no single frame must arrive exactly once.

pub mod convert;
pub mod enrol;
pub mod frame;
pub mod keeper;
pub mod link;
pub mod live;
mod reconnect;
pub mod remote;
pub mod settler;
pub mod state;
