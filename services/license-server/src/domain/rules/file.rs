//! The file with the rules.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::super::peer::{PeerContainer, Subnet, SubnetError};
use super::caller::{Caller, Wish};
use super::pattern::Pattern;
use super::verdict::{Decision, Effect};

/// Largest file in bytes.
pub const MAX_RULES_BYTES: usize = 256 * 1024;
/// Most rules, and most tests.
pub const MAX_RULES: usize = 1_000;
/// Longest name of a rule in bytes.
pub const MAX_RULE_NAME_BYTES: usize = 128;
/// Most names, codes or subnets in one condition.
const MAX_CHOICES: usize = 256;

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is too large.
    #[error("the file has more than {MAX_RULES_BYTES} bytes")]
    TooLarge,
    /// It is no TOML, or not of this shape; the text names line and column.
    #[error("{0}")]
    Shape(String),
    /// It holds too much of something.
    #[error("{what} has more than {limit} entries")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// A rule has no name, or too long a one.
    #[error("the name {0:?} of a rule must have 1 to {MAX_RULE_NAME_BYTES} bytes on one line")]
    Name(String),
    /// Two rules have one name.
    #[error("two rules are called {0:?}; give each a name of its own")]
    SameName(String),
    /// A rule keeps no seats, or one that decides keeps some.
    #[error("rule {0:?}: `seats` belongs to `effect = \"reserve\"`, and only there, with at least 1")]
    Seats(String),
    /// Tests of the file fail; each with what it expects and what the rules say.
    #[error("{} of the file's own tests fail: {}", .0.len(), .0.join("; "))]
    Tests(Vec<String>),
}

/// Rules that were checked.
#[derive(Clone, Debug)]
pub struct Rules {
    default: Effect,
    rules: Vec<Rule>,
    tests: usize,
}

#[derive(Clone, Debug)]
struct Rule {
    name: String,
    action: Action,
    conditions: Conditions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Decide(Effect),
    Reserve(u32),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "allow")]
    default: Effect,
    #[serde(default)]
    rule: Vec<WrittenRule>,
    #[serde(default)]
    test: Vec<WrittenTest>,
}

const fn allow() -> Effect {
    Effect::Allow
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    name: String,
    effect: WrittenEffect,
    seats: Option<u32>,
    #[serde(default)]
    when: Conditions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenEffect {
    Allow,
    Deny,
    Reserve,
}

/// Every list that is given has to hold something that fits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Conditions {
    firm_code: Option<Vec<u32>>,
    product_code: Option<Vec<u32>>,
    subnet: Option<Vec<WrittenSubnet>>,
    host: Option<Vec<Pattern>>,
    user: Option<Vec<Pattern>>,
    container: Option<Vec<Pattern>>,
    image: Option<Vec<Pattern>>,
    #[serde(default)]
    label: BTreeMap<String, Pattern>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct WrittenSubnet(Subnet);

impl TryFrom<String> for WrittenSubnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let single = text
            .parse::<IpAddr>()
            .ok()
            .and_then(|address| Subnet::new(address, if address.is_ipv4() { 32 } else { 128 }));
        single.map_or_else(|| text.parse().map_err(|error: SubnetError| error.to_string()), Ok).map(Self)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTest {
    name: String,
    firm_code: u32,
    product_code: u32,
    address: Option<IpAddr>,
    #[serde(default)]
    host: String,
    #[serde(default)]
    user: String,
    container: Option<String>,
    image: Option<String>,
    #[serde(default)]
    label: BTreeMap<String, String>,
    expect: Effect,
    /// The rule that has to decide, or has to keep seats for this caller.
    rule: Option<String>,
}

impl Rules {
    /// Rules that allow everything, as without a file.
    #[must_use]
    pub const fn none() -> Self {
        Self { default: Effect::Allow, rules: Vec::new(), tests: 0 }
    }

    /// Reads a file and runs its tests.
    ///
    /// # Errors
    /// See [`Problem`]; all failing tests are named at once.
    pub fn read(text: &str) -> Result<Self, Problem> {
        if text.len() > MAX_RULES_BYTES {
            return Err(Problem::TooLarge);
        }
        let file: File =
            toml::from_str(text).map_err(|error| Problem::Shape(error.to_string().trim_end().to_owned()))?;
        limit("the file", file.rule.len().max(file.test.len()), MAX_RULES)?;
        let mut rules: Vec<Rule> = Vec::with_capacity(file.rule.len());
        for written in file.rule {
            let rule = written.checked()?;
            if rule.name.is_empty() || rule.name.len() > MAX_RULE_NAME_BYTES || rule.name.contains(char::is_control) {
                return Err(Problem::Name(rule.name));
            }
            if rules.iter().any(|other| other.name == rule.name) {
                return Err(Problem::SameName(rule.name));
            }
            rules.push(rule);
        }
        let rules = Self { default: file.default, rules, tests: file.test.len() };
        let failing: Vec<String> = file.test.iter().filter_map(|test| rules.failure(test)).collect();
        if failing.is_empty() { Ok(rules) } else { Err(Problem::Tests(failing)) }
    }

    /// How many rules there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// How many tests they have passed.
    #[must_use]
    pub const fn tests(&self) -> usize {
        self.tests
    }

    /// Whether seats of a product are kept for anybody.
    #[must_use]
    pub fn reserve(&self, wish: Wish) -> bool {
        let reserves = |rule: &Rule| matches!(rule.action, Action::Reserve(_)) && rule.conditions.concern(wish);
        self.rules.iter().any(reserves)
    }

    /// Whether nobody is ever denied or preferred.
    #[must_use]
    pub fn allow_all(&self) -> bool {
        self.rules.is_empty() && self.default == Effect::Allow
    }

    /// Whether the caller may take seats.
    #[must_use]
    pub fn decide(&self, caller: &Caller<'_>, wish: Wish) -> Decision {
        let deciding = self.rules.iter().find_map(|rule| match rule.action {
            Action::Decide(effect) if rule.conditions.fit(caller, wish) => Some((effect, rule.name.clone())),
            _ => None,
        });
        match deciding {
            Some((effect, name)) => Decision { effect, rule: Some(name) },
            None => Decision { effect: self.default, rule: None },
        }
    }

    /// The reservations that concern a product: name, seats, and whether the caller fits.
    pub fn reservations<'a>(
        &'a self,
        caller: &'a Caller<'a>,
        wish: Wish,
    ) -> impl Iterator<Item = (&'a str, u32, bool)> {
        self.rules.iter().filter_map(move |rule| match rule.action {
            Action::Reserve(seats) if rule.conditions.concern(wish) => {
                Some((rule.name.as_str(), seats, rule.conditions.fit(caller, wish)))
            }
            _ => None,
        })
    }

    /// The reservations that a caller fits.
    #[must_use]
    pub fn fitting(&self, caller: &Caller<'_>, wish: Wish) -> Vec<String> {
        let fitting = self.reservations(caller, wish).filter(|(_, _, fits)| *fits);
        fitting.map(|(name, ..)| name.to_owned()).collect()
    }

    /// What is wrong with a test, if anything is.
    fn failure(&self, test: &WrittenTest) -> Option<String> {
        let described = test.container.is_some() || test.image.is_some() || !test.label.is_empty();
        let container = described.then(|| PeerContainer {
            id: String::new(),
            name: test.container.clone().unwrap_or_default(),
            image: test.image.clone().unwrap_or_default(),
            labels: test.label.clone(),
        });
        let caller =
            Caller { address: test.address, container: container.as_ref(), host: &test.host, user: &test.user };
        let wish = Wish { firm_code: test.firm_code, product_code: test.product_code };
        let decision = self.decide(&caller, wish);
        let said = decision.rule.as_deref().map_or_else(|| "the default".to_owned(), |name| format!("rule {name:?}"));
        if decision.effect != test.expect {
            return Some(format!(
                "{:?} expects {}, but {said} says {}",
                test.name,
                word(test.expect),
                word(decision.effect)
            ));
        }
        let wanted = test.rule.as_deref()?;
        let kept = self.reservations(&caller, wish).any(|(name, _, fits)| fits && name == wanted);
        let met = kept || decision.rule.as_deref() == Some(wanted);
        (!met).then(|| format!("{:?} expects rule {wanted:?}, but {said} decides", test.name))
    }
}

const fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}

fn limit(what: &str, found: usize, limit: usize) -> Result<(), Problem> {
    if found > limit { Err(Problem::TooMany { what: what.to_owned(), limit }) } else { Ok(()) }
}

impl WrittenRule {
    fn checked(self) -> Result<Rule, Problem> {
        self.when.check(&self.name)?;
        let action = match (self.effect, self.seats) {
            (WrittenEffect::Allow, None) => Action::Decide(Effect::Allow),
            (WrittenEffect::Deny, None) => Action::Decide(Effect::Deny),
            (WrittenEffect::Reserve, Some(seats)) if seats > 0 => Action::Reserve(seats),
            _ => return Err(Problem::Seats(self.name)),
        };
        Ok(Rule { name: self.name, action, conditions: self.when })
    }
}

impl Conditions {
    fn check(&self, rule: &str) -> Result<(), Problem> {
        let lengths = [
            ("firm_code", self.firm_code.as_ref().map(Vec::len)),
            ("product_code", self.product_code.as_ref().map(Vec::len)),
            ("subnet", self.subnet.as_ref().map(Vec::len)),
            ("host", self.host.as_ref().map(Vec::len)),
            ("user", self.user.as_ref().map(Vec::len)),
            ("container", self.container.as_ref().map(Vec::len)),
            ("image", self.image.as_ref().map(Vec::len)),
            ("label", Some(self.label.len())),
        ];
        lengths.into_iter().try_for_each(|(name, length)| {
            limit(&format!("`{name}` of rule {rule:?}"), length.unwrap_or(0), MAX_CHOICES)
        })
    }

    /// Whether the product is one of the rule's.
    fn concern(&self, wish: Wish) -> bool {
        given(self.firm_code.as_ref(), |code| *code == wish.firm_code)
            && given(self.product_code.as_ref(), |code| *code == wish.product_code)
    }

    fn fit(&self, caller: &Caller<'_>, wish: Wish) -> bool {
        let container = caller.container;
        let proven = |choices: Option<&Vec<Pattern>>, name: fn(&PeerContainer) -> &str| {
            given(choices, |pattern| container.is_some_and(|container| pattern.fits(name(container))))
        };
        let labels = self.label.iter().all(|(key, pattern)| {
            container.and_then(|container| container.labels.get(key)).is_some_and(|value| pattern.fits(value))
        });
        self.concern(wish)
            && given(self.subnet.as_ref(), |subnet| {
                caller.address.is_some_and(|address| subnet.0.contains(address.to_canonical()))
            })
            && given(self.host.as_ref(), |pattern| pattern.fits(caller.host))
            && given(self.user.as_ref(), |pattern| pattern.fits(caller.user))
            && proven(self.container.as_ref(), |container| &container.name)
            && proven(self.image.as_ref(), |container| &container.image)
            && labels
    }
}

/// A condition that is not given fits everybody; one that is given, even as an empty list, fits whom one of it fits.
fn given<T>(choices: Option<&Vec<T>>, fits: impl Fn(&T) -> bool) -> bool {
    choices.is_none_or(|choices| choices.iter().any(fits))
}
