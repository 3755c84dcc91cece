//! Every limit of the formats in one place. A limit may grow in a later version, never shrink.

/// Largest file in bytes, whatever its type. Callers check it before they read a file into memory.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Most segments in one update file.
pub const MAX_SEGMENTS: usize = 256;
/// Largest ordinary segment in bytes, envelope included.
pub const MAX_SEGMENT_BYTES: usize = 64 * 1024;
/// Largest checkpoint segment in bytes, envelope included. Larger than the state it carries by its envelope and heads.
pub const MAX_CHECKPOINT_BYTES: usize = 2 * 1024 * 1024 + 512 * 1024;
/// Largest vendor-owned state of one firm in a container, in bytes of its encoding.
pub const MAX_STATE_BYTES: usize = 2 * 1024 * 1024;
/// Most root documents in one file.
pub const MAX_ROOTS: usize = 1024;
/// Largest encoded product item with its modules, in bytes.
pub const MAX_ITEM_BYTES: usize = 48 * 1024;
/// Most entries of one firm in a container.
pub const MAX_ENTRIES: usize = 4096;
/// Most modules of one product item.
pub const MAX_MODULES: usize = 256;
/// Most operations in one segment.
pub const MAX_OPERATIONS: usize = 256;
/// Most segments that may be issued and unconfirmed before a checkpoint must fold them.
pub const MAX_PENDING: usize = 64;
/// Most heads that one checkpoint may accept.
pub const MAX_ACCEPTED_HEADS: usize = 4096;
/// Most epochs that one rebase may lead on from where the container stands. The vendor's chain moves by one epoch at a
/// time; a container that was restored from a backup may have missed a few of them.
pub const MAX_EPOCH_STEP: u32 = 16;
/// Most contexts with a challenge that a container remembers to have written; a rebase must answer one of them.
pub const MAX_QUESTIONS: usize = 16;
/// Most segment hashes that a container keeps since its last checkpoint.
pub const MAX_SEGMENT_HASHES: usize = 4096;
/// Most pieces of evidence that a container keeps; the oldest go first.
pub const MAX_EVIDENCE: usize = 64;
/// Most bytes of evidence that a container keeps.
pub const MAX_EVIDENCE_BYTES: usize = 256 * 1024;
/// Most product keys of one firm in a container.
pub const MAX_PRODUCT_KEYS: usize = 4096;
/// Most elements of the list of features that a reader must know.
pub const MAX_CRITICAL: usize = 32;
/// Longest note for people in a segment, in bytes.
pub const MAX_NOTE_BYTES: usize = 256;
/// Longest serial of a container, in bytes.
pub const MAX_SERIAL_BYTES: usize = 64;
/// Longest activation address, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 512;
/// Longest text armor of a file, in bytes.
pub const MAX_ARMOR_BYTES: usize = 2 * MAX_FILE_BYTES;
