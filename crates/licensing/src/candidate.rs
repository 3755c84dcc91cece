//! In which order the candidates for a request are tried: a pure function of what matters about each.

use lictor_clock::Timestamp;

use crate::access::{BestMatch, Location, Request};
use crate::feature::FeatureMap;
use crate::options::{Edition, Release, ReleaseVersion};
use crate::refusal::Reason;

/// From this version on a program of the Steady edition may use a license of the Progress edition.
const PROGRESS_FOR_STEADY: ReleaseVersion = ReleaseVersion { major: 24, minor: 11 };

/// What matters about a candidate for its place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where its container lies.
    pub location: Location,
    /// The features it opens.
    pub feature_map: FeatureMap,
    /// The edition and version it is for.
    pub release: Option<Release>,
    /// Whether the request takes no seat there, as this client or its station holds one already.
    pub already_held: bool,
    /// When it ends; none for one that does not.
    pub ends_at: Option<Timestamp>,
}

/// A place in the order: the smaller, the earlier it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    location: usize,
    release: ReleaseFit,
    additional_features: u32,
    takes_a_seat: bool,
    ends_at: Timestamp,
}

/// How well an edition, a version and the modules (the feature bits) fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ReleaseFit {
    /// All three are as wanted, or nobody asked for the best match.
    Exact,
    /// Edition and version are as wanted, and there are more modules.
    MoreModules,
    /// The edition is as wanted, and the version is newer.
    Newer,
    /// Progress instead of Steady.
    OtherEdition,
}

/// Gives a candidate with the right product code its place.
///
/// # Errors
/// The reason why it cannot serve the request, whatever its state.
pub fn rank(request: &Request, facts: &Facts) -> Result<Rank, Reason> {
    if !facts.feature_map.contains(request.feature_map) {
        return Err(Reason::FeaturesMissing { missing: facts.feature_map.missing(request.feature_map) });
    }
    let additional_features = facts.feature_map.additional(request.feature_map);
    let release = match request.best_match {
        None => ReleaseFit::Exact,
        Some(wanted) => release_fit(wanted, facts.release, additional_features == 0).ok_or(Reason::ReleaseMismatch)?,
    };
    let location =
        request.locations.rank(facts.location).ok_or(Reason::LocationNotWanted { location: facts.location })?;
    Ok(Rank {
        location,
        release,
        additional_features,
        takes_a_seat: !facts.already_held,
        ends_at: facts.ends_at.unwrap_or(Timestamp::MAX),
    })
}

fn release_fit(wanted: BestMatch, offered: Option<Release>, same_modules: bool) -> Option<ReleaseFit> {
    let offered = offered.filter(|offered| offered.version >= wanted.version)?;
    if offered.edition == wanted.edition {
        return Some(match (offered.version == wanted.version, same_modules) {
            (true, true) => ReleaseFit::Exact,
            (true, false) => ReleaseFit::MoreModules,
            (false, _) => ReleaseFit::Newer,
        });
    }
    let progress_will_do = wanted.edition == Edition::Steady && wanted.version >= PROGRESS_FOR_STEADY;
    progress_will_do.then_some(ReleaseFit::OtherEdition)
}
