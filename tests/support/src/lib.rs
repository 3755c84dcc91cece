//! What tests of more than one crate share: private servers, a Docker engine, whole processes, waiting for conditions.

pub mod docker;
pub mod servers;
