//! What goes over the pipes between the licence server and its attestor: one JSON object per line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Longest line in bytes.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// Most labels of a container that are told.
pub const MAX_LABELS: usize = 64;
/// Most bytes of all labels together.
pub const MAX_LABEL_BYTES: usize = 16 * 1024;
/// Most bytes of a name or image that are told.
pub const MAX_NAME_BYTES: usize = 512;

/// A question of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Question {
    /// Which container and volume the server lives in. The server wrote `nonce` into `nonce_file` of its state folder:
    /// whoever shows that file with that content is looking at this very folder.
    Identify {
        /// Echoed in the answer.
        id: u64,
        /// The state folder as the server sees it.
        folder: PathBuf,
        /// Name of the file in it.
        nonce_file: String,
        /// Its content.
        nonce: String,
        /// Container ids that the server's own mount table names; tried first, believed never.
        hints: Vec<String>,
    },
    /// Which container has an address.
    Peer {
        /// Echoed in the answer.
        id: u64,
        /// The address.
        address: IpAddr,
    },
    /// Whether the engine answers.
    Alive {
        /// Echoed in the answer.
        id: u64,
    },
    /// From now on every death of a container is told.
    Watch {
        /// Echoed in the answer.
        id: u64,
    },
}

/// What the attestor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Statement {
    /// To [`Question::Identify`].
    Identity {
        /// Of the question.
        id: u64,
        /// Id of the engine.
        engine: String,
        /// The container that the server runs in.
        container: Box<Workload>,
        /// The volume under the state folder.
        volume: VolumeName,
    },
    /// To [`Question::Peer`]; none when no running container has the address, or more than one.
    Peer {
        /// Of the question.
        id: u64,
        /// The container.
        container: Option<Box<Workload>>,
    },
    /// To [`Question::Alive`] and [`Question::Watch`].
    Yes {
        /// Of the question.
        id: u64,
    },
    /// The question cannot be answered.
    No {
        /// Of the question.
        id: u64,
        /// One sentence.
        reason: String,
        /// Whether the engine was reached at all.
        reached: bool,
    },
    /// A container ended.
    Died {
        /// Its id.
        container: String,
    },
    /// Deaths were not seen for a while: whoever relies on them has to look for himself.
    Gap,
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// Its image as it was named when it was started.
    pub image: String,
    /// Its labels: whoever may start containers chooses them.
    pub labels: BTreeMap<String, String>,
}

/// A volume that was proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeName {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Its scope.
    pub scope: String,
}
