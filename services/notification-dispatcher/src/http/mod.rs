//! Pages of the HTTP listener beside health and metrics.

pub mod events;
