//! What tests of more than one crate share: private servers, a Docker engine, whole processes, calls to
//! them, containers in memory, a receiver of webhooks, waiting for conditions.

pub mod calls;
pub mod device;
pub mod docker;
pub mod fleet;
pub mod programs;
pub mod receiver;
pub mod servers;
pub mod softhsm;
pub mod statements;
pub mod vendor;
pub mod wait;
