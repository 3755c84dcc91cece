//! The contract of `proto/` as Rust: generated messages, clients and servers, one module per package, and the one place
//! where errors are mapped onto gRPC.
//!
//! The generated code is committed; `tests/fresh.rs` proves that it is what `proto/` says today.

pub mod convert;
pub mod error;
pub mod words;

/// Package `lictor.types.v1`, generated from `proto/lictor/types/v1/types.proto`.
#[allow(missing_docs, clippy::all, reason = "generated; the comments of the proto files are the documentation")]
pub mod types {
    /// Version 1.
    pub mod v1 {
        include!("generated/lictor.types.v1.rs");
    }
}

/// Package `lictor.event.v1`, generated from `proto/lictor/event/v1/event.proto`.
#[allow(missing_docs, clippy::all, reason = "generated; the comments of the proto files are the documentation")]
pub mod event {
    /// Version 1.
    pub mod v1 {
        include!("generated/lictor.event.v1.rs");
    }
}

/// Package `lictor.central.v1`, generated from `proto/lictor/central/v1/`.
#[allow(missing_docs, clippy::all, reason = "generated; the comments of the proto files are the documentation")]
pub mod central {
    /// Version 1.
    pub mod v1 {
        include!("generated/lictor.central.v1.rs");
    }
}

/// Package `lictor.activation.v1`, generated from `proto/lictor/activation/v1/activation.proto`.
#[allow(missing_docs, clippy::all, reason = "generated; the comments of the proto files are the documentation")]
pub mod activation {
    /// Version 1.
    pub mod v1 {
        include!("generated/lictor.activation.v1.rs");
    }
}

/// Package `lictor.update.v1`, generated from `proto/lictor/update/v1/update.proto`.
#[allow(missing_docs, clippy::all, reason = "generated; the comments of the proto files are the documentation")]
pub mod update {
    /// Version 1.
    pub mod v1 {
        include!("generated/lictor.update.v1.rs");
    }
}

/// Package `lictor.notification.v1`, generated from `proto/lictor/notification/v1`.
#[allow(missing_docs, clippy::all, reason = "generated; the comments of the proto files are the documentation")]
pub mod notification {
    /// Version 1.
    pub mod v1 {
        include!("generated/lictor.notification.v1.rs");
    }
}

/// Package `lictor.server.v1`, generated from `proto/lictor/server/v1`.
#[allow(missing_docs, clippy::all, reason = "generated; the comments of the proto files are the documentation")]
pub mod server {
    /// Version 1.
    pub mod v1 {
        include!("generated/lictor.server.v1.rs");
    }
}
