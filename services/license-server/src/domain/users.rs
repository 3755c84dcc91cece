//! Named users: a licence may say how many people use it, and on how many devices each. Whoever comes is named, until the
//! list is full; a name stays for as long as the licence does.

use std::collections::{BTreeMap, BTreeSet};

use lictor_licensing::effective::{EffectiveEntry, Source};
use lictor_licensing::id::LicenseId;
use lictor_licensing::item::Part;
use lictor_licensing::options::OptionKind;
use lictor_licensing::refusal::Reason;
use lictor_signing::cbor::{CborError, Reader, Writer};

use super::MAX_NAME_BYTES;
use super::session::{read_license, read_part};

/// Most licences with named users.
const MAX_LISTS: usize = 65_536;
/// Most users of all licences together that one licence server keeps.
pub const MAX_USERS: usize = 100_000;
/// Longest name of a device: a station.
const MAX_DEVICE_BYTES: usize = 256;

/// The licence, and the part of it that says how many.
pub type List = (LicenseId, Part);
type People = BTreeMap<String, BTreeSet<String>>;

/// Who is named for which licence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<List, People>);

/// The list that an entry's users stand on; none when it names no users.
#[must_use]
pub fn list_of(license: LicenseId, entry: &EffectiveEntry) -> Option<List> {
    entry.options().named_users?;
    let own = entry.source(OptionKind::NamedUsers) == Some(Source::Own);
    Some((license, if own { entry.part() } else { Part::Parent }))
}

impl Users {
    /// Whether a user may use an entry on a device.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, license: LicenseId, entry: &EffectiveEntry, user: &str, device: &str) -> Result<(), Reason> {
        let (Some(list), Some(limits)) = (list_of(license, entry), entry.options().named_users) else { return Ok(()) };
        if user.is_empty() {
            return Err(Reason::UserUnknown);
        }
        let people = self.0.get(&list);
        match people.and_then(|people| people.get(user)) {
            Some(devices) if devices.contains(device) => Ok(()),
            Some(devices) if devices.len() >= limits.max_devices_per_user() as usize => {
                Err(Reason::DevicesNamed { total: limits.max_devices_per_user() })
            }
            Some(_) => Ok(()),
            None if people.map_or(0, BTreeMap::len) >= limits.max_users() as usize => {
                Err(Reason::UsersNamed { total: limits.max_users() })
            }
            None if self.0.values().map(BTreeMap::len).sum::<usize>() >= MAX_USERS => Err(Reason::Overloaded),
            None => Ok(()),
        }
    }

    /// Names a user with a device; true when that is new.
    pub fn name(&mut self, list: List, user: &str, device: &str) -> bool {
        self.0.entry(list).or_default().entry(user.to_owned()).or_default().insert(device.to_owned())
    }

    /// Takes a naming back that could not be written.
    pub fn unname(&mut self, list: List, user: &str, device: &str) {
        let Some(people) = self.0.get_mut(&list) else { return };
        if let Some(devices) = people.get_mut(user) {
            devices.remove(device);
            if devices.is_empty() {
                people.remove(user);
            }
        }
        if people.is_empty() {
            self.0.remove(&list);
        }
    }

    /// Everybody who is named, with the devices.
    pub fn all(&self) -> impl Iterator<Item = (List, &str, &BTreeSet<String>)> {
        self.0
            .iter()
            .flat_map(|(list, people)| people.iter().map(move |(user, devices)| (*list, user.as_str(), devices)))
    }

    /// Leaves out the lists of licences that are gone.
    pub fn keep(&mut self, lives: impl Fn(LicenseId) -> bool) {
        self.0.retain(|(license, _), _| lives(*license));
    }

    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the lists.
    pub fn write(&self, writer: &mut Writer) {
        writer.array(self.0.len());
        for ((license, part), people) in &self.0 {
            writer.array(3);
            writer.bytes(&license.to_u128().to_be_bytes());
            writer.uint(part.index() as u64);
            writer.array(people.len());
            for (user, devices) in people {
                writer.array(2);
                writer.text(user);
                writer.array(devices.len());
                devices.iter().for_each(|device| writer.text(device));
            }
        }
    }

    /// Reads them.
    ///
    /// # Errors
    /// When they are not written by [`Users::write`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let lists = reader.list(MAX_LISTS, |r| {
            three(r)?;
            let list = (read_license(r)?, read_part(r)?);
            let people = r.list(MAX_USERS, |r| {
                if r.array(2)? != 2 {
                    return Err(CborError::Value("a named user has two parts"));
                }
                let user = r.text(MAX_NAME_BYTES)?.to_owned();
                let devices = r.list(1_000, |r| r.text(MAX_DEVICE_BYTES).map(str::to_owned))?;
                Ok((user, devices.into_iter().collect()))
            })?;
            Ok((list, people.into_iter().collect()))
        })?;
        Ok(Self(lists.into_iter().collect()))
    }
}

fn three(reader: &mut Reader<'_>) -> Result<(), CborError> {
    if reader.array(3)? == 3 { Ok(()) } else { Err(CborError::Value("a list of users has three parts")) }
}
