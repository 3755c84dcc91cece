//! What the vendor settles beside the product item: rules of the catalogue that no container needs to know.
//!
//! They stand beside `product_item` in the catalogue, are kept with each version of an item (`item_version.policy`), and a
//! license obeys those that it was sold with.

use std::time::Duration;

use lictor_clock::{Timestamp, duration};
use lictor_licensing::{
    ProductItem,
    error::{ErrorCode, Problem},
};
use serde::{Deserialize, Serialize};

/// Longest period, lead or grace of a renewal, in days.
const MAX_DAYS: u32 = 3_650;

/// Whether a customer gets a license into a new container after the old one was lost; in the catalogue `reactivation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "ReactivationDocument", into = "ReactivationDocument")]
pub enum Replacement {
    /// Nobody does.
    Never,
    /// By himself, once in this time; more often by the vendor's staff.
    OncePer(Duration),
    /// The vendor's staff decides.
    #[default]
    ByHand,
}

impl Replacement {
    /// Whether a lost container may be replaced now. `last` is when this license was put into a new container the last
    /// time, and `by_hand` says that the vendor's staff asks.
    ///
    /// # Errors
    /// A [`Problem`] that says who may, or when.
    pub fn allows(self, last: Option<Timestamp>, by_hand: bool, now: Timestamp) -> Result<(), Problem> {
        let refused = |message: String, next: &str| Err(Problem::new(ErrorCode::LicenseForbids, message, next));
        match (self, last) {
            (Self::Never, _) => refused(
                "a lost container is never replaced for this license".to_owned(),
                "ask the vendor for a new one",
            ),
            (Self::OncePer(_) | Self::ByHand, _) if by_hand => Ok(()),
            (Self::ByHand, _) => refused(
                "only the vendor's staff replaces a lost container for this license".to_owned(),
                "ask the vendor's support",
            ),
            (Self::OncePer(time), Some(last)) if now < last.saturating_add(time) => refused(
                format!("a lost container was replaced for this license less than {} ago", duration::format(time)),
                "ask the vendor's support, or wait until then",
            ),
            (Self::OncePer(_), _) => Ok(()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "reactivation is never, by-hand or {once_per_days: N}")]
enum ReactivationDocument {
    Word(ReactivationWord),
    Once(OnceDocument),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ReactivationWord {
    Never,
    ByHand,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnceDocument {
    once_per_days: u32,
}

impl TryFrom<ReactivationDocument> for Replacement {
    type Error = String;

    fn try_from(document: ReactivationDocument) -> Result<Self, String> {
        match document {
            ReactivationDocument::Word(ReactivationWord::Never) => Ok(Self::Never),
            ReactivationDocument::Word(ReactivationWord::ByHand) => Ok(Self::ByHand),
            ReactivationDocument::Once(OnceDocument { once_per_days: days @ 1..=MAX_DAYS }) => {
                Ok(Self::OncePer(duration::days(u64::from(days))))
            }
            ReactivationDocument::Once(_) => Err(format!("once_per_days is 1 to {MAX_DAYS}")),
        }
    }
}

impl From<Replacement> for ReactivationDocument {
    fn from(rule: Replacement) -> Self {
        match rule {
            Replacement::Never => Self::Word(ReactivationWord::Never),
            Replacement::ByHand => Self::Word(ReactivationWord::ByHand),
            Replacement::OncePer(time) => {
                let days = time.as_secs() / duration::days(1).as_secs();
                Self::Once(OnceDocument { once_per_days: u32::try_from(days).unwrap_or(MAX_DAYS) })
            }
        }
    }
}

/// A short technical end that is moved on as long as nobody cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RenewalDocument", into = "RenewalDocument")]
pub struct Renewal {
    /// How far one renewal moves the end.
    pub period: Duration,
    /// How long before the end it is renewed; shorter than the period, so that one renewal is never followed by another
    /// at once.
    pub lead: Duration,
    /// Added to the first period: how long a container goes on that no update reaches.
    pub grace: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RenewalDocument {
    period_days: u32,
    lead_days: u32,
    grace_days: u32,
}

impl Default for RenewalDocument {
    fn default() -> Self {
        Self { period_days: 30, lead_days: 7, grace_days: 0 }
    }
}

impl TryFrom<RenewalDocument> for Renewal {
    type Error = String;

    fn try_from(document: RenewalDocument) -> Result<Self, String> {
        if !(2..=MAX_DAYS).contains(&document.period_days) {
            return Err(format!("a renewal's period_days is 2 to {MAX_DAYS}"));
        }
        if document.lead_days == 0 || document.lead_days >= document.period_days {
            return Err("a renewal's lead_days is at least 1 and less than its period_days".to_owned());
        }
        if document.grace_days > MAX_DAYS {
            return Err(format!("a renewal's grace_days is at most {MAX_DAYS}"));
        }
        let span = |days: u32| duration::days(u64::from(days));
        Ok(Self {
            period: span(document.period_days),
            lead: span(document.lead_days),
            grace: span(document.grace_days),
        })
    }
}

impl From<Renewal> for RenewalDocument {
    fn from(rule: Renewal) -> Self {
        let days = |span: Duration| u32::try_from(span.as_secs() / duration::days(1).as_secs()).unwrap_or(MAX_DAYS);
        Self { period_days: days(rule.period), lead_days: days(rule.lead), grace_days: days(rule.grace) }
    }
}

/// How many days ahead an end is announced: up to eight different numbers of 1 to 365, largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct NoticeDays([u16; 8]);

/// Numbers that are no leads of notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an end is announced at most 8 times ahead, each 1 to 365 days before it")]
pub struct NoticeDaysError;

impl NoticeDays {
    /// A month, a week and a day ahead.
    pub const USUAL: Self = Self([30, 7, 1, 0, 0, 0, 0, 0]);

    /// Largest first. None at all means: only the end itself is announced.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        self.0.into_iter().take_while(|days| *days > 0)
    }
}

impl TryFrom<Vec<u32>> for NoticeDays {
    type Error = NoticeDaysError;

    fn try_from(mut days: Vec<u32>) -> Result<Self, NoticeDaysError> {
        days.sort_unstable_by(|one, other| other.cmp(one));
        days.dedup();
        let mut all = [0; 8];
        if days.len() > all.len() || days.iter().any(|days| !(1..=365).contains(days)) {
            return Err(NoticeDaysError);
        }
        for (place, days) in all.iter_mut().zip(days) {
            *place = u16::try_from(days).map_err(|_| NoticeDaysError)?;
        }
        Ok(Self(all))
    }
}

impl From<NoticeDays> for Vec<u32> {
    fn from(days: NoticeDays) -> Self {
        days.iter().map(u32::from).collect()
    }
}

/// The rules of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// After a container was lost.
    #[serde(rename = "reactivation")]
    pub replacement: Replacement,
    /// Technical expiry with automatic renewal; none: no technical end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// How many days ahead an end is announced; none: as the service is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_notice_days: Option<NoticeDays>,
}

impl Policy {
    /// As stored.
    ///
    /// # Errors
    /// Text for the log.
    pub fn to_text(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    /// From the store; an empty text is the usual policy.
    ///
    /// # Errors
    /// Text for the log.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Whether an item's dates have one source each: a date of its own, a subscription, or a technical end.
    ///
    /// # Errors
    /// What contradicts what, for people.
    pub fn fits(&self, item: &ProductItem) -> Result<(), &'static str> {
        let own = item.options();
        let modules = || item.modules().iter().map(|module| &module.options);
        if modules().any(|options| options.subscription.is_some()) {
            return Err("subscription is an option of the product item, not of a module item");
        }
        if own.subscription.is_some() && self.renewal.is_some() {
            return Err("a subscription ends with its days and is not renewed by itself: leave out one of the two");
        }
        if own.subscription.is_none() && self.renewal.is_none() {
            return Ok(());
        }
        if own.expiration_time.is_some() || modules().any(|options| options.expiration_time.is_some()) {
            return Err("the end of a subscription or a renewed license is computed: leave out expiration_time");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Policy, String> {
        serde_norway::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_rule_survives_the_store() {
        for text in [
            "{}",
            "reactivation: never",
            "reactivation: by-hand",
            "reactivation: {once_per_days: 180}",
            "renewal: {period_days: 30, lead_days: 7, grace_days: 3}",
            "expiry_notice_days: [1, 30, 7, 7]",
        ] {
            let policy = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(Policy::read(&policy.to_text().expect("a text")), Ok(policy), "{text}");
        }
        assert_eq!(Policy::read(""), Ok(Policy::default()));
    }

    #[test]
    fn rules_without_sense_are_refused() {
        for text in [
            "reactivation: sometimes",
            "reactivation: {once_per_days: 0}",
            "reactivation: {once_per_year: 1}",
            "renewal: {period_days: 1}",
            "renewal: {period_days: 30, lead_days: 30}",
            "renewal: {period_days: 30, lead_days: 0}",
            "renewal: {period_days: 4000}",
            "renewal: {periods: 3}",
            "expiry_notice_days: [0]",
            "expiry_notice_days: [366]",
            "expiry_notice_days: [1,2,3,4,5,6,7,8,9]",
            "surprise: 1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn notices_come_from_far_to_near_and_may_be_none() {
        let days = |text: &str| read(text).expect("good").expiry_notice_days.expect("set").iter().collect::<Vec<_>>();
        assert_eq!(days("expiry_notice_days: [1, 30, 7, 7]"), [30, 7, 1]);
        assert!(days("expiry_notice_days: []").is_empty());
        assert_eq!(NoticeDays::USUAL.iter().collect::<Vec<_>>(), [30, 7, 1]);
    }

    #[test]
    fn a_customer_replaces_a_lost_container_once_in_the_time_and_staff_more_often() {
        let now = Timestamp::from_seconds(1_767_225_600);
        let rule = Replacement::OncePer(duration::days(10));
        let ago = |days| Some(now.saturating_sub(duration::days(days)));
        assert!(rule.allows(None, false, now).is_ok());
        assert!(rule.allows(ago(9), false, now).is_err());
        assert!(rule.allows(ago(9), true, now).is_ok());
        assert!(rule.allows(ago(10), false, now).is_ok());
        assert!(Replacement::ByHand.allows(None, false, now).is_err());
        assert!(Replacement::ByHand.allows(None, true, now).is_ok());
        assert!(Replacement::Never.allows(None, true, now).is_err());
    }
}
