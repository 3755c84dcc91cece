//! Which traits count in which kind of surroundings.

use std::collections::BTreeMap;
use std::fmt;

/// Longest value of a trait in bytes.
const MAX_VALUE_BYTES: usize = 1024;

/// Traits that stand for one thing. Each group has to be recognised by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The machine below.
    Host,
    /// The volume that holds the state.
    Volume,
}

impl Group {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Volume => "volume",
        }
    }
}

/// Something that can be read and stays the same as long as the surroundings are the same.
///
/// Deliberately absent, because they change in honest operation: the creation date of a volume (the engine reports the
/// time of the last change of its folder), container ids, image digests, host names of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TraitKind {
    /// The UUID that the firmware reports for the mainboard.
    ProductUuid,
    /// Serial number of the disk that holds the root file system, or the state.
    DiskSerial,
    /// Id of the file system that holds the state.
    FilesystemId,
    /// `/etc/machine-id` of the host.
    MachineId,
    /// Permanent hardware addresses of the network cards, sorted.
    HardwareAddresses,
    /// Model of the processor.
    ProcessorModel,
    /// Id of the container engine.
    EngineId,
    /// Inode and generation of the volume's root folder.
    RootFolder,
    /// When the volume's root folder was born.
    RootFolderBirth,
    /// Inode and generation of the file with the sealed secrets, which is written once.
    KeyFile,
    /// When that file was born.
    KeyFileBirth,
    /// Name of the volume.
    VolumeName,
    /// Driver and scope of the volume.
    VolumeDriver,
}

impl TraitKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 13] = [
        Self::ProductUuid,
        Self::DiskSerial,
        Self::FilesystemId,
        Self::MachineId,
        Self::HardwareAddresses,
        Self::ProcessorModel,
        Self::EngineId,
        Self::RootFolder,
        Self::RootFolderBirth,
        Self::KeyFile,
        Self::KeyFileBirth,
        Self::VolumeName,
        Self::VolumeDriver,
    ];

    /// For people: what changed when this trait fails.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProductUuid => "product uuid",
            Self::DiskSerial => "disk serial",
            Self::FilesystemId => "file system",
            Self::MachineId => "machine id",
            Self::HardwareAddresses => "network cards",
            Self::ProcessorModel => "processor",
            Self::EngineId => "container engine",
            Self::RootFolder => "volume root",
            Self::RootFolderBirth => "birth of the volume root",
            Self::KeyFile => "key file",
            Self::KeyFileBirth => "birth of the key file",
            Self::VolumeName => "volume name",
            Self::VolumeDriver => "volume driver",
        }
    }

    pub(crate) const fn code(self) -> u8 {
        self as u8 + 1
    }

    pub(crate) fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| u64::from(kind.code()) == code)
    }
}

/// The kind of surroundings that a secret is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A machine, virtual or not.
    Machine,
    /// A named volume of a container engine, on its host.
    Volume,
}

impl Profile {
    /// The groups that have to be recognised, in their order.
    #[must_use]
    pub const fn groups(self) -> &'static [Group] {
        match self {
            Self::Machine => &[Group::Host],
            Self::Volume => &[Group::Host, Group::Volume],
        }
    }

    /// The traits of one group and their points.
    #[must_use]
    pub const fn traits(self, group: Group) -> &'static [(TraitKind, u8)] {
        match (self, group) {
            (Self::Machine, Group::Host) => &[
                (TraitKind::ProductUuid, 2),
                (TraitKind::DiskSerial, 2),
                (TraitKind::FilesystemId, 1),
                (TraitKind::MachineId, 1),
                (TraitKind::HardwareAddresses, 1),
                (TraitKind::ProcessorModel, 1),
            ],
            (Self::Machine, Group::Volume) => &[],
            (Self::Volume, Group::Host) => &[
                (TraitKind::ProductUuid, 2),
                (TraitKind::DiskSerial, 2),
                (TraitKind::FilesystemId, 2),
                (TraitKind::MachineId, 1),
                (TraitKind::ProcessorModel, 1),
                (TraitKind::EngineId, 1),
            ],
            (Self::Volume, Group::Volume) => &[
                (TraitKind::RootFolder, 2),
                (TraitKind::RootFolderBirth, 2),
                (TraitKind::KeyFile, 2),
                (TraitKind::KeyFileBirth, 1),
                (TraitKind::VolumeName, 1),
                (TraitKind::VolumeDriver, 1),
            ],
        }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Machine => 1,
            Self::Volume => 2,
        }
    }

    pub(crate) const fn from_code(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::Machine),
            2 => Some(Self::Volume),
            _ => None,
        }
    }
}

/// What was read of the surroundings at one moment. A trait that cannot be read is absent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Reading(BTreeMap<TraitKind, Vec<u8>>);

impl Reading {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a value. Empty ones, those over 1 KiB and the placeholders of careless firmware count as not readable:
    /// they would be the same on many machines.
    pub fn note(&mut self, kind: TraitKind, value: &[u8]) {
        if !value.is_empty() && value.len() <= MAX_VALUE_BYTES && !is_placeholder(value) {
            self.0.insert(kind, value.to_vec());
        }
    }

    /// The value of a trait, if it could be read.
    #[must_use]
    pub fn get(&self, kind: TraitKind) -> Option<&[u8]> {
        self.0.get(&kind).map(Vec::as_slice)
    }

    /// The traits that could be read.
    pub fn kinds(&self) -> impl Iterator<Item = TraitKind> {
        self.0.keys().copied()
    }
}

impl fmt::Debug for Reading {
    /// The kinds only: values identify a customer's machine and belong into no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What firmware and virtual hardware report when nobody filled a field in.
fn is_placeholder(value: &[u8]) -> bool {
    const WORDS: [&str; 5] =
        ["to be filled by o.e.m.", "default string", "not specified", "none", "system serial number"];
    let plain: Vec<u8> = value.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
    let same = |byte: u8| !plain.is_empty() && plain.iter().all(|other| other.eq_ignore_ascii_case(&byte));
    let text = String::from_utf8_lossy(value).trim().to_ascii_lowercase();
    (value.is_ascii() && (same(b'0') || same(b'f'))) || WORDS.contains(&text.as_str())
}
