//! Access rules: who is let in, for whom seats are kept, and that a wrong file is never taken.

use std::net::IpAddr;

use lictor_license_server::domain::peer::PeerContainer;
use lictor_license_server::domain::rules::{Caller, Decision, Effect, Problem, Reservation, Rules, Wish, room_beside};

const EDITOR: Wish = Wish { firm_code: 6_000_001, product_code: 101 };
const OTHER: Wish = Wish { firm_code: 6_000_001, product_code: 102 };

fn from(address: &str) -> Caller<'static> {
    Caller { address: Some(address.parse::<IpAddr>().expect("an address")), ..Caller::default() }
}

fn container(image: &str, label: (&str, &str)) -> PeerContainer {
    let labels = [(label.0.to_owned(), label.1.to_owned())].into();
    PeerContainer { id: "1".repeat(64), name: "job-1".to_owned(), image: image.to_owned(), labels }
}

fn inside(container: &PeerContainer) -> Caller<'_> {
    Caller { container: Some(container), ..from("172.18.0.5") }
}

fn rules(text: &str) -> Rules {
    Rules::read(text).expect("good rules")
}

fn effect(rules: &Rules, caller: &Caller<'_>, wish: Wish) -> Effect {
    rules.decide(caller, wish).effect
}

const OFFICE: &str = r#"
default = "deny"

[[rule]]
name = "no builds"
effect = "deny"
when = { image = ["registry.local/ci/*"], product_code = [101] }

[[rule]]
name = "office"
effect = "allow"
when = { subnet = ["172.18.0.0/16", "10.0.0.7"] }

[[rule]]
name = "red team"
effect = "reserve"
seats = 2
when = { product_code = [101], label = { team = "re?" } }

[[test]]
name = "a build is refused"
firm_code = 6000001
product_code = 101
address = "172.18.0.9"
image = "registry.local/ci/linux:12"
expect = "deny"
rule = "no builds"

[[test]]
name = "red has its seats"
firm_code = 6000001
product_code = 101
address = "172.18.0.9"
label = { team = "red" }
expect = "allow"
rule = "red team"
"#;

#[test]
fn the_first_rule_that_fits_decides_and_the_default_otherwise() {
    let rules = rules(OFFICE);
    let build = container("registry.local/ci/linux:12", ("team", "red"));
    assert_eq!(
        rules.decide(&inside(&build), EDITOR),
        Decision { effect: Effect::Deny, rule: Some("no builds".to_owned()) }
    );
    assert_eq!(
        rules.decide(&inside(&build), OTHER),
        Decision { effect: Effect::Allow, rule: Some("office".to_owned()) }
    );
    assert_eq!(rules.decide(&from("10.0.0.7"), EDITOR).rule.as_deref(), Some("office"));
    assert_eq!(rules.decide(&from("10.0.0.8"), EDITOR), Decision { effect: Effect::Deny, rule: None });
    assert_eq!(effect(&rules, &from("::ffff:172.18.3.4"), OTHER), Effect::Allow, "the same address in another form");
}

#[test]
fn without_a_file_everything_is_allowed() {
    assert_eq!(effect(&Rules::none(), &Caller::default(), EDITOR), Effect::Allow);
    assert_eq!(effect(&rules(""), &Caller::default(), EDITOR), Effect::Allow);
}

#[test]
fn what_a_program_says_of_itself_never_stands_for_what_is_proven() {
    let rules = rules(
        "default = \"deny\"\n[[rule]]\nname = \"r\"\neffect = \"allow\"\nwhen = { image = [\"*\"], label = { team = \"*\" } }\n",
    );
    let liar = Caller { host: "job-1", user: "team=red", ..from("172.18.0.5") };
    assert_eq!(effect(&rules, &liar, EDITOR), Effect::Deny, "no container was proven");
    assert_eq!(effect(&rules, &inside(&container("x", ("role", "red"))), EDITOR), Effect::Deny, "another label");
    assert_eq!(effect(&rules, &inside(&container("x", ("team", ""))), EDITOR), Effect::Allow, "any value of it");
}

#[test]
fn a_condition_with_nothing_in_it_fits_nobody() {
    let rules = rules("default = \"deny\"\n[[rule]]\nname = \"r\"\neffect = \"allow\"\nwhen = { subnet = [] }\n");
    assert_eq!(effect(&rules, &from("127.0.0.1"), EDITOR), Effect::Deny);
}

#[test]
fn patterns_fit_whole_names_whatever_their_case() {
    for (pattern, text, fits) in [
        ("build-*", "BUILD-17", true),
        ("build-*", "a-build-17", false),
        ("*-17", "build-17", true),
        ("b?ild", "build", true),
        ("b?ild", "bild", false),
        ("a*b*c", "a-x-b-b-c", true),
        ("a*b*c", "a-x-c-b", false),
        ("*", "", true),
        ("?", "", false),
        ("käse*", "KÄSEBROT", true),
    ] {
        let rules = rules(&format!(
            "default = \"deny\"\n[[rule]]\nname = \"r\"\neffect = \"allow\"\nwhen.user = [\"{pattern}\"]\n"
        ));
        let caller = Caller { user: text, ..Caller::default() };
        assert_eq!(effect(&rules, &caller, EDITOR) == Effect::Allow, fits, "{pattern} {text}");
    }
}

#[test]
fn a_hostile_pattern_costs_little() {
    let pattern = "*a".repeat(120) + "b";
    let rules = rules(&format!("[[rule]]\nname = \"r\"\neffect = \"deny\"\nwhen.user = [\"{pattern}\"]\n"));
    let name = "a".repeat(100_000);
    let caller = Caller { user: &name, ..Caller::default() };
    assert_eq!(effect(&rules, &caller, EDITOR), Effect::Allow);
}

#[test]
fn a_file_whose_tests_fail_is_not_taken_and_says_which() {
    let wrong = OFFICE.replace("expect = \"deny\"", "expect = \"allow\"").replace("label = { team = \"red\" }", "");
    let problem = Rules::read(&wrong).expect_err("two tests fail");
    assert_eq!(
        problem.to_string(),
        "2 of the file's own tests fail: \"a build is refused\" expects allow, but rule \"no builds\" says deny; \
         \"red has its seats\" expects rule \"red team\", but rule \"office\" decides"
    );
}

#[test]
fn mistakes_are_named() {
    for (text, part) in [
        ("[[rule]]\nname = \"r\"\neffect = \"permit\"", "unknown variant"),
        ("[[rule]]\nname = \"r\"\neffect = \"deny\"\nwhen.subnet = [\"10.0.0.0/33\"]", "is no subnet"),
        ("[[rule]]\nname = \"r\"\neffect = \"deny\"\nwhen.hosts = [\"a\"]", "unknown field"),
        ("[[rule]]\nname = \"r\"\neffect = \"reserve\"", "`seats` belongs to"),
        ("[[rule]]\nname = \"r\"\neffect = \"reserve\"\nseats = 0", "`seats` belongs to"),
        ("[[rule]]\nname = \"r\"\neffect = \"deny\"\nseats = 1", "`seats` belongs to"),
        (
            "[[rule]]\nname = \"r\"\neffect = \"deny\"\n[[rule]]\nname = \"r\"\neffect = \"deny\"",
            "two rules are called",
        ),
        ("rule = 7", "line 1"),
        ("default = \"maybe\"", "line 1"),
        ("[[rule]]\nname = \"r\"\neffect = \"deny\"\nwhen.user = [\"\"]", "a pattern has"),
    ] {
        let problem = Rules::read(text).expect_err(text).to_string();
        assert!(problem.contains(part), "{text}: {problem}");
    }
    let many = "[[rule]]\nname = \"r\"\neffect = \"deny\"\nwhen.firm_code = [".to_owned() + &"1,".repeat(300) + "]";
    assert!(matches!(Rules::read(&many), Err(Problem::TooMany { .. })));
    assert_eq!(Rules::read(&" ".repeat(300_000)).err(), Some(Problem::TooLarge));
}

#[test]
fn reserved_seats_are_kept_for_those_who_fit() {
    let red = Reservation { seats: 2, held: 0, fits: false };
    assert_eq!(room_beside(5, &[red]), 3);
    assert_eq!(room_beside(5, &[Reservation { held: 1, ..red }]), 4);
    assert_eq!(room_beside(5, &[Reservation { held: 7, ..red }]), 5, "more than reserved takes from no one");
    assert_eq!(room_beside(1, &[red]), 0);
    assert_eq!(room_beside(1, &[Reservation { fits: true, ..red }]), 1);
    assert_eq!(room_beside(5, &[red, Reservation { seats: 1, held: 0, fits: true }]), 3);
    assert_eq!(room_beside(9, &[Reservation { seats: u32::MAX, held: 0, fits: false }, red]), 0);
}

#[test]
fn reservations_concern_their_products_only() {
    let rules = rules(OFFICE);
    let red = container("x", ("team", "red"));
    assert_eq!(rules.reservations(&inside(&red), EDITOR).collect::<Vec<_>>(), [("red team", 2, true)]);
    assert_eq!(rules.reservations(&from("172.18.0.5"), EDITOR).collect::<Vec<_>>(), [("red team", 2, false)]);
    assert_eq!(rules.reservations(&inside(&red), OTHER).count(), 0);
}
