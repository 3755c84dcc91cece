//! Small changes over time.

use lictor_binding::{DRIFT_PERIOD_MICROS, Profile, Renewal, Seal, TraitKind};
use lictor_clock::Timestamp;

use crate::surroundings::{SECRET, all, changed, sealed, without};

const START: i64 = 1_700_000_000_000_000;

fn renewed(seal: &Seal, reading: &lictor_binding::Reading, at: i64, seed: u8) -> Renewal {
    seal.renew(&seal.open(reading).expect("it opens"), reading, Timestamp::from_micros(at), [seed; 32])
}

#[test]
fn a_changed_trait_is_sealed_anew_and_counts_fully_again() {
    let here = all(Profile::Machine);
    let new_disk = changed(&here, &[TraitKind::DiskSerial]);
    let Renewal::Renewed(seal) = renewed(&sealed(Profile::Machine, &here), &new_disk, START, 2) else {
        panic!("one change")
    };
    let opened = seal.open(&new_disk).expect("sealed anew");
    assert_eq!(opened.secret.as_slice(), SECRET);
    assert_eq!(opened.matches.0[0].matched, opened.matches.0[0].total);
}

#[test]
fn nothing_is_sealed_anew_while_a_trait_cannot_be_read() {
    let here = all(Profile::Machine);
    let there = without(&changed(&here, &[TraitKind::MachineId]), &[TraitKind::ProcessorModel]);
    assert!(matches!(renewed(&sealed(Profile::Machine, &here), &there, START, 2), Renewal::NotNeeded));
    assert!(matches!(renewed(&sealed(Profile::Machine, &here), &here, START, 2), Renewal::NotNeeded));
}

#[test]
fn a_seal_cannot_be_walked_to_another_machine_in_a_month() {
    let mut here = all(Profile::Machine);
    let mut seal = sealed(Profile::Machine, &here);
    let mut walked = 0;
    for (step, kind) in
        [TraitKind::MachineId, TraitKind::HardwareAddresses, TraitKind::ProcessorModel].into_iter().enumerate()
    {
        here = changed(&here, &[kind]);
        match renewed(
            &seal,
            &here,
            START + i64::try_from(step).expect("small") * 1_000_000,
            u8::try_from(step).expect("small"),
        ) {
            Renewal::Renewed(next) => {
                seal = *next;
                walked += 1;
            }
            Renewal::TooMuch => {}
            Renewal::NotNeeded => panic!("{kind:?} changed"),
        }
    }
    assert_eq!(walked, 2);
    assert!(seal.open(&here).is_ok(), "what drifted too fast still opens");
    assert!(seal.open(&changed(&here, &[TraitKind::ProductUuid, TraitKind::DiskSerial])).is_err());
    assert!(
        matches!(renewed(&seal, &here, START + DRIFT_PERIOD_MICROS + 2_000_000, 9), Renewal::Renewed(_)),
        "a month later"
    );
}

#[test]
fn a_clock_that_was_set_back_forgets_no_drift() {
    let here = all(Profile::Machine);
    let two = changed(&here, &[TraitKind::MachineId, TraitKind::ProcessorModel]);
    let Renewal::Renewed(seal) = renewed(&sealed(Profile::Machine, &here), &two, START, 2) else {
        panic!("two changes")
    };
    let third = changed(&two, &[TraitKind::HardwareAddresses]);
    assert!(matches!(renewed(&seal, &third, START - 10 * DRIFT_PERIOD_MICROS, 3), Renewal::TooMuch));
}

#[test]
fn three_changes_at_once_open_but_are_not_sealed_anew() {
    let here = all(Profile::Machine);
    let there = changed(&here, &[TraitKind::MachineId, TraitKind::HardwareAddresses, TraitKind::ProcessorModel]);
    assert!(matches!(renewed(&sealed(Profile::Machine, &here), &there, START, 2), Renewal::TooMuch));
}
