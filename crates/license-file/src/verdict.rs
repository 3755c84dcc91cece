//! Short verdicts about segments, for receipts, logs and metrics.

use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};

macro_rules! verdicts {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What became of a segment or a file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum VerdictCode {
            $($(#[$doc])* $variant,)*
        }

        impl VerdictCode {
            /// Every verdict.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The number in files; it never changes.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The name in logs and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

verdicts! {
    /// Applied just now.
    Applied = 0, "applied";
    /// Was applied before, byte for byte the same.
    AlreadyApplied = 1, "already-applied";
    /// Earlier segments are missing.
    Gap = 2, "gap";
    /// Another segment of the same counter was applied.
    Fork = 3, "fork";
    /// For another container.
    WrongContainer = 4, "wrong-container";
    /// Of another vendor.
    WrongVendor = 5, "wrong-vendor";
    /// Of another epoch.
    WrongEpoch = 6, "wrong-epoch";
    /// The segments of the file do not follow each other.
    BadSequence = 7, "bad-sequence";
    /// Cut off.
    Truncated = 8, "truncated";
    /// Changed on the way.
    Damaged = 9, "damaged";
    /// Not signed by who must sign.
    Forged = 10, "forged";
    /// Needs a newer program.
    RuntimeTooOld = 11, "runtime-too-old";
    /// Needs something unknown here.
    UnknownCritical = 12, "unknown-critical";
    /// Over a limit.
    TooLarge = 13, "too-large";
    /// The license may not live in this kind of container.
    BindingNotAllowed = 14, "binding-not-allowed";
    /// An operation does not fit the state.
    NotApplicable = 15, "not-applicable";
    /// A rebase that answers no context which the container remembers.
    StaleAnswer = 16, "stale-answer";
}

impl Canonical for VerdictCode {
    fn write(&self, writer: &mut Writer) {
        writer.uint(u64::from(self.number()));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let number = reader.u32()?;
        Self::ALL
            .iter()
            .copied()
            .find(|verdict| verdict.number() == number)
            .ok_or(CborError::UnknownKind(u64::from(number)))
    }
}

/// What an import did with one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentResult {
    /// Counter before the segment.
    pub from: u64,
    /// Counter after the segment.
    pub to: u64,
    /// What became of it.
    pub verdict: VerdictCode,
}

impl Canonical for SegmentResult {
    fn write(&self, writer: &mut Writer) {
        writer.array(3);
        writer.uint(self.from);
        writer.uint(self.to);
        self.verdict.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        if reader.array(3)? != 3 {
            return Err(CborError::Value("a result has three parts"));
        }
        Ok(Self { from: reader.uint()?, to: reader.uint()?, verdict: VerdictCode::read(reader)? })
    }
}
