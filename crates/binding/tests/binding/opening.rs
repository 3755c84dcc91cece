//! Where a seal opens and where it does not.

use lictor_binding::{Group, Profile, Reading, Seal, SealError, Sealed, TraitKind};

use crate::surroundings::{SECRET, all, changed, kinds, sealed, traits, without};

#[test]
fn every_subset_of_changed_traits_opens_exactly_when_each_group_keeps_its_points() {
    for profile in [Profile::Machine, Profile::Volume] {
        let here = all(profile);
        let seal = sealed(profile, &here);
        let kinds = kinds(profile);
        for subset in 0_u32..1 << kinds.len() {
            let gone: Vec<TraitKind> =
                kinds.iter().enumerate().filter(|(bit, _)| subset & 1 << bit != 0).map(|(_, kind)| *kind).collect();
            let enough = profile.groups().iter().all(|&group| {
                let all = traits(profile, group);
                let points = |kept: bool| -> u32 {
                    all.iter()
                        .filter(|(kind, _)| !(kept && gone.contains(kind)))
                        .map(|(_, points)| u32::from(*points))
                        .sum()
                };
                points(true) * 10 >= points(false) * 6
            });
            // Half of the cases change the values, half take them away: neither says anything about the key.
            let there = if subset % 2 == 0 { changed(&here, &gone) } else { without(&here, &gone) };
            match seal.open(&there) {
                Ok(opened) => {
                    assert!(enough, "{gone:?}");
                    assert_eq!(opened.secret.as_slice(), SECRET);
                }
                Err(Sealed::Elsewhere(matches)) => {
                    assert!(!enough, "{gone:?}: {matches}");
                    assert!(!matches.is_enough());
                }
                Err(Sealed::Damaged) => panic!("{gone:?}"),
            }
        }
    }
}

#[test]
fn a_copied_volume_on_the_same_machine_stays_closed() {
    let here = all(Profile::Volume);
    let copy = changed(
        &here,
        &[
            TraitKind::RootFolder,
            TraitKind::RootFolderBirth,
            TraitKind::KeyFile,
            TraitKind::KeyFileBirth,
            TraitKind::VolumeName,
        ],
    );
    let refused = sealed(Profile::Volume, &here).open(&copy).expect_err("a copy");
    assert_eq!(
        refused.to_string(),
        "these are not the surroundings it was sealed to: host 9 of 9 points (6 needed), volume 1 of 9 (6 needed): \
         volume root, birth of the volume root, key file, birth of the key file, volume name changed"
    );
}

#[test]
fn a_volume_made_anew_under_the_old_name_stays_closed() {
    let here = all(Profile::Volume);
    let anew = changed(
        &here,
        &[TraitKind::RootFolder, TraitKind::RootFolderBirth, TraitKind::KeyFile, TraitKind::KeyFileBirth],
    );
    assert!(matches!(sealed(Profile::Volume, &here).open(&anew), Err(Sealed::Elsewhere(_))));
}

#[test]
fn the_right_volume_does_not_make_up_for_another_machine() {
    let here = all(Profile::Volume);
    let machine: Vec<TraitKind> = traits(Profile::Volume, Group::Host).into_iter().map(|(kind, _)| kind).collect();
    let refused = sealed(Profile::Volume, &here).open(&changed(&here, &machine)).expect_err("another machine");
    let Sealed::Elsewhere(matches) = refused else { panic!("{refused}") };
    assert_eq!(
        matches.0.iter().map(|group| (group.matched, group.is_enough())).collect::<Vec<_>>(),
        [(0, false), (9, true)]
    );
}

#[test]
fn an_honest_restore_into_the_same_volume_opens() {
    // A backup tool replaces the files; the folder of the volume stays.
    let here = all(Profile::Volume);
    let restored = changed(&here, &[TraitKind::KeyFile, TraitKind::KeyFileBirth]);
    assert_eq!(sealed(Profile::Volume, &here).open(&restored).expect("the same volume").secret.as_slice(), SECRET);
}

#[test]
fn an_engine_that_lost_its_id_and_a_new_processor_change_nothing() {
    let here = all(Profile::Volume);
    let upgraded = changed(&here, &[TraitKind::EngineId, TraitKind::ProcessorModel]);
    assert!(sealed(Profile::Volume, &here).open(&upgraded).is_ok());
}

#[test]
fn too_little_to_seal_to_is_refused_by_name() {
    let here = all(Profile::Volume);
    let poor = without(
        &here,
        &[TraitKind::ProductUuid, TraitKind::DiskSerial, TraitKind::MachineId, TraitKind::ProcessorModel],
    );
    let refused = Seal::close(Profile::Volume, &poor, SECRET, [1; 32]).err().expect("two traits");
    assert_eq!(refused, SealError::TooFewTraits { group: Group::Host, found: 2, best: 2 });
    let light = without(&all(Profile::Machine), &[TraitKind::ProductUuid, TraitKind::DiskSerial]);
    let refused = Seal::close(Profile::Machine, &light, SECRET, [1; 32]).err().expect("light traits");
    assert_eq!(refused, SealError::TooFewTraits { group: Group::Host, found: 4, best: 1 });
    assert!(refused.to_string().starts_with("too little can be read of the host"));
}

#[test]
fn placeholders_of_firmware_are_no_traits() {
    let mut reading = Reading::new();
    for value in [
        "",
        "   ",
        "To Be Filled By O.E.M.",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF",
        "None\n",
        "Default string",
    ] {
        reading.note(TraitKind::ProductUuid, value.as_bytes());
        let expected = if value.trim().is_empty() && !value.is_empty() { Some(value.as_bytes()) } else { None };
        assert_eq!(reading.get(TraitKind::ProductUuid), expected, "{value:?}");
        reading = Reading::new();
    }
    reading.note(TraitKind::ProductUuid, &[b'a'; 2000]);
    assert_eq!(reading.get(TraitKind::ProductUuid), None, "longer than any real one");
}

#[test]
fn secrets_without_a_length_or_too_long_are_refused() {
    let here = all(Profile::Machine);
    for secret in [vec![], vec![0; 4097]] {
        assert_eq!(Seal::close(Profile::Machine, &here, &secret, [1; 32]).err(), Some(SealError::Secret));
    }
}
