//! What tests of more than one crate share: private servers and their processes, a Docker engine, whole processes, calls to
//! them, containers in memory, a service that announces events, a receiver of webhooks, waiting for conditions.

pub mod calls;
pub mod device;
pub mod docker;
pub mod fleet;
pub mod producer;
pub mod programs;
pub mod receiver;
pub mod running;
pub mod servers;
pub mod softhsm;
pub mod statements;
pub mod vendor;
pub mod wait;
