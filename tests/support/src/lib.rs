//! What tests of more than one crate share: private servers, whole processes, waiting for conditions.

pub mod servers;
