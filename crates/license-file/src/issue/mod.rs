//! The vendor's side: planning segments. Incoming contexts are judged where the chains are kept, by their service.
//!
//! A plan holds the exact bytes to sign. The issuer reserves them in one transaction, has them signed, stores the
//! result where it is written once, and marks it issued; a crash anywhere resumes with the same bytes, because the
//! plan's randomness was an argument and Ed25519 adds none.

mod plan;
mod rebase;

pub use plan::{SegmentPlan, Terms, plan, plan_checkpoint, sign_payload};
pub use rebase::{plan_rebase, sign_rebase};
