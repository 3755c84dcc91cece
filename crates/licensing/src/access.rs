//! How a program asks for a seat.

use std::fmt;
use std::sync::Arc;

use lictor_clock::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::feature::FeatureMap;
use crate::id::{FirmCode, ProductCode};
use crate::options::{Edition, ReleaseVersion};
use crate::set::named_enum;

named_enum! {
    /// How an access counts against the quantity.
    enum AccessMode, unknown UnknownAccessMode;
    /// A set of access modes.
    set AccessModes;
    /// Each client instance takes its own seats.
    UserLimit = "user-limit",
    /// All clients of one station share.
    StationShare = "station-share",
    /// One client per station; it takes its own seats and nobody else on the station may use the entry.
    Exclusive = "exclusive",
    /// Takes no seat.
    NoUserLimit = "no-user-limit",
}

impl AccessModes {
    /// What a counted license allows when the vendor says nothing.
    pub const COUNTED_DEFAULT: Self = Self::of(&[AccessMode::UserLimit]);
}

named_enum! {
    /// Where a candidate's container lies, as seen from the caller's licence server.
    enum Location, unknown UnknownLocation;
    /// A set of locations.
    set Locations;
    /// In this licence server.
    Local = "local",
    /// In a server of the network.
    Lan = "lan",
    /// In the cloud.
    Cloud = "cloud",
}

named_enum! {
    /// From where a program reaches the licence server.
    enum Origin, unknown UnknownOrigin;
    /// A set of origins.
    set Origins;
    /// Over a Unix socket, loopback or a container network that the server is attached to.
    Local = "local",
    /// From elsewhere in the network.
    Network = "network",
    /// From outside the network.
    Wan = "wan",
}

/// The order in which a caller wants locations tried; what is not in it is not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocationOrder {
    places: [Option<Location>; 3],
}

impl LocationOrder {
    /// Takes the first three different locations of the list; an empty list means the default order.
    #[must_use]
    pub fn new(order: &[Location]) -> Self {
        let mut places = [None; 3];
        let mut used = 0;
        for location in order {
            if used < places.len() && !places.contains(&Some(*location)) {
                places[used] = Some(*location);
                used += 1;
            }
        }
        if used == 0 { Self::default() } else { Self { places } }
    }

    /// The place of a location in the order, counted from zero; none when it is not to be tried.
    #[must_use]
    pub fn rank(&self, location: Location) -> Option<usize> {
        self.places.iter().position(|place| *place == Some(location))
    }
}

impl Default for LocationOrder {
    fn default() -> Self {
        Self { places: [Some(Location::Local), Some(Location::Lan), Some(Location::Cloud)] }
    }
}

/// A running copy of a protected program: 128 bits that the client makes at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientInstance(pub u128);

/// One access, which is one session's part in a pool: the session's 128 bits. The same value again means the same access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessId(pub u128);

/// What "one machine" means for sharing: a name that the licence server gives, 1 to 128 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Station(#[serde(serialize_with = "station_text")] Arc<str>);

fn station_text<S: serde::Serializer>(name: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

/// A station name that is empty, too long, or contains control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a station has a name of 1 to 128 bytes without control characters")]
pub struct StationError;

impl Station {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Takes a station's name.
    ///
    /// # Errors
    /// [`StationError`] when the name is empty, too long or not one plain line.
    pub fn new(name: &str) -> Result<Self, StationError> {
        if name.is_empty() || name.len() > Self::MAX_BYTES || name.chars().any(char::is_control) {
            return Err(StationError);
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<'de> Deserialize<'de> for Station {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How many seats one access takes: 1 to [`Seats::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seats(u32);

/// A number of seats of zero or above [`Seats::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one access takes 1 to 1000000 seats")]
pub struct SeatsError;

impl Seats {
    /// One seat.
    pub const ONE: Self = Self(1);
    /// The most seats that one access may take.
    pub const MAX: u32 = 1_000_000;

    /// Takes a number of seats.
    ///
    /// # Errors
    /// [`SeatsError`] for zero or too many.
    pub const fn new(count: u32) -> Result<Self, SeatsError> {
        if count == 0 || count > Self::MAX { Err(SeatsError) } else { Ok(Self(count)) }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Seats {
    type Error = SeatsError;

    fn try_from(count: u32) -> Result<Self, SeatsError> {
        Self::new(count)
    }
}

/// Which edition and version a program is, when it wants the best match instead of a plain match by code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BestMatch {
    /// The program's edition.
    pub edition: Edition,
    /// The program's version.
    pub version: ReleaseVersion,
}

/// A wish for a seat, checked at the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The vendor.
    pub firm_code: FirmCode,
    /// The product.
    pub product_code: ProductCode,
    /// All of these features are needed.
    pub feature_map: FeatureMap,
    /// How the access counts.
    pub mode: AccessMode,
    /// Seats taken in one access (on the wire: `units`).
    pub seats: Seats,
    /// This access; the same again is the same seat.
    pub access: AccessId,
    /// The running program.
    pub client: ClientInstance,
    /// The machine it counts for.
    pub station: Station,
    /// From where it reaches this server.
    pub origin: Origin,
    /// Where to look, in order.
    pub locations: LocationOrder,
    /// When the program was released, for licenses with a maintenance period.
    pub release_date: Option<Timestamp>,
    /// Whether only licenses with a maintenance period will do.
    pub require_maintenance: bool,
    /// How much the program wants to take from the unit counter with this access.
    pub take_units: Option<u64>,
    /// Set when the best match by edition and version is wanted.
    pub best_match: Option<BestMatch>,
}

impl Request {
    /// A local request for one seat in mode user limit, everything else at its default.
    #[must_use]
    pub fn new(
        firm_code: FirmCode,
        product_code: ProductCode,
        access: AccessId,
        client: ClientInstance,
        station: Station,
    ) -> Self {
        Self {
            firm_code,
            product_code,
            feature_map: FeatureMap::NONE,
            mode: AccessMode::UserLimit,
            seats: Seats::ONE,
            access,
            client,
            station,
            origin: Origin::Local,
            locations: LocationOrder::default(),
            release_date: None,
            require_maintenance: false,
            take_units: None,
            best_match: None,
        }
    }
}
