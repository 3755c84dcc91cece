//! What tests of more than one crate share: private servers, a Docker engine, whole processes, a receiver of webhooks,
//! waiting for conditions.

pub mod docker;
pub mod fleet;
pub mod programs;
pub mod receiver;
pub mod servers;
pub mod vendor;
pub mod wait;
