//! The way back: challenges, and the epoch that begins with one.

use std::time::Duration;

use lictor_license_file::{FileError, device::PartCounters};
use lictor_licensing::{error::ErrorCode, item::Part};
use lictor_push_update_generator::{
    Failure,
    domain::{request::BlockRequest, verdict::Verdict},
    issue::{Rebased, Step},
    take::Taken,
};
use lictor_signing::{Envelope, TimeStatement};
use lictor_test_support::device::TestDevice;

use crate::{
    crash::DieAt,
    world::{FIRM, World, add, code, firm, license, withdraw, worlds},
};

async fn challenge(world: &World) -> [u8; 32] {
    world.issuer.challenge(firm(FIRM)).await.expect("a challenge").0
}

async fn asked(world: &World, device: &mut TestDevice) -> Taken {
    let challenge = challenge(world).await;
    world.take(&device.fresh_context(challenge)).await
}

async fn rebase(world: &World, taken: &Taken, reference: &str) -> Result<Rebased, Failure> {
    world.issuer.rebase(taken, reference.to_owned(), "restored from a backup".to_owned()).await
}

/// A container that holds license 1, and what it was before.
async fn set_back(world: &World) -> (TestDevice, TestDevice) {
    let mut device = world.known_device(1).await;
    let backup = device.clone();
    let issued = world.issue(&device, "act_1", vec![add(1)]).await;
    device
        .counters
        .0
        .entry(license(1))
        .or_default()
        .insert(Part::Parent, PartCounters { units_used: 70, usage_start: None });
    let receipt = device.import(&issued.file.bytes).expect("an import");
    world.take(&receipt).await;
    (device, backup)
}

#[tokio::test]
async fn a_restored_container_comes_back_with_one_exchange_of_files() {
    worlds(async |world| {
        let (_, mut restored) = set_back(&world).await;
        // It is still on its way when the trouble shows.
        world.issue(&restored, "act_2", vec![add(2)]).await;
        let taken = asked(&world, &mut restored).await;
        assert!(taken.fresh);
        assert_eq!(taken.verdict, Verdict::RollbackSuspected);
        let refused = world.try_issue(&restored, "early_3", vec![add(3)]).await;
        assert_eq!(code(refused.expect_err("under suspicion")), ErrorCode::ContainerSuspected);

        let rebased = rebase(&world, &taken, "back_1").await.expect("a rebase");
        assert_eq!((rebased.epoch, rebased.to, rebased.file.segments), (1, 1, 1));
        let again = rebase(&world.restarted(None).await, &taken, "back_1").await.expect("the same");
        assert_eq!(again, rebased, "the same reference gets the same bytes");
        let chain = world.chain(&restored).await;
        assert!(chain.suspicions.is_empty());
        assert_eq!((chain.epoch, chain.confirmed, chain.issued), (1, 0, 1));

        // Before it takes the rebase, what is issued rides behind it.
        let next = world.issue(&restored, "act_3", vec![add(3)]).await;
        assert_eq!((next.from, next.to, next.file.segments), (1, 2, 2));
        let receipt = restored.import(&next.file.bytes).expect("the rebase and the next");
        assert!([1, 2, 3].into_iter().all(|number| restored.holds(license(number))));
        assert_eq!(restored.counters.part(license(1), Part::Parent).units_used, 70, "it remembers what it had used");
        let taken = world.take(&receipt).await;
        let chain = taken.chain.expect("known");
        assert_eq!((taken.verdict, chain.epoch, chain.confirmed), (Verdict::Ok, 1, 2));

        // What was never proven in the old epoch is proven by the rebase.
        let events = world.events().await;
        let Some(lictor_api::event::v1::event::Data::UpdateConfirmed(last)) = &events.last().expect("events").data
        else {
            panic!("a confirmation")
        };
        assert_eq!(last.references, ["act_2", "back_1", "act_3"]);
        let told = events.iter().filter_map(|event| match &event.data {
            Some(lictor_api::event::v1::event::Data::ContainerRebased(rebased)) => {
                Some((rebased.epoch, rebased.reason.as_str()))
            }
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), [(1, "restored from a backup")]);
        let numbers: Vec<_> = events.iter().map(|event| event.aggregate_sequence).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        let next = world.issue(&restored, "wd_1", vec![withdraw(1)]).await;
        assert_eq!((next.from, next.to, next.file.segments), (2, 3, 1));
        restored.import(&next.file.bytes).expect("the normal chain goes on");
    })
    .await;
}

#[tokio::test]
async fn contexts_of_the_closed_epoch_are_old() {
    worlds(async |world| {
        let (mut device, mut restored) = set_back(&world).await;
        let taken = asked(&world, &mut restored).await;
        rebase(&world, &taken, "back_1").await.expect("a rebase");
        for _ in 0..10 {
            let taken = world.take(&device.context()).await;
            assert_eq!(taken.verdict, Verdict::Old);
            assert!(taken.chain.expect("known").suspicions.is_empty());
        }
        assert_eq!(world.chain(&device).await.counters.part(license(1), Part::Parent).units_used, 70);
    })
    .await;
}

#[tokio::test]
async fn a_challenge_is_good_for_one_rebase_and_for_seven_days() {
    worlds(async |world| {
        let (_, mut restored) = set_back(&world).await;
        let plain = world.take(&restored.context()).await;
        assert!(!plain.fresh);
        assert_eq!(code(rebase(&world, &plain, "back_0").await.expect_err("no challenge")), ErrorCode::WrongState);
        let invented = world.take(&restored.fresh_context([7; 32])).await;
        assert!(!invented.fresh);
        assert_eq!(code(rebase(&world, &invented, "back_0").await.expect_err("not ours")), ErrorCode::WrongState);

        let taken = asked(&world, &mut restored).await;
        let first = rebase(&world, &taken, "back_1").await.expect("a rebase");
        assert_eq!(code(rebase(&world, &taken, "back_2").await.expect_err("spent")), ErrorCode::WrongState);
        let late = asked(&world, &mut restored).await;
        assert_eq!(code(rebase(&world, &late, "back_1").await.expect_err("used")), ErrorCode::RequestIdReused);
        world.clock.advance(Duration::from_secs(8 * 24 * 3_600));
        assert_eq!(code(rebase(&world, &late, "back_3").await.expect_err("stale")), ErrorCode::WrongState);
        assert_eq!(rebase(&world, &taken, "back_1").await.expect("the same for ever"), first);
        // It lost the first file and asks again.
        let again = asked(&world, &mut restored).await;
        let second = rebase(&world, &again, "back_4").await.expect("another rebase");
        assert_eq!(second.epoch, 2);
        restored.import(&second.file.bytes).expect("the rebase");
        assert!(restored.holds(license(1)));
    })
    .await;
}

#[tokio::test]
async fn a_rebase_fits_the_asking_context_alone() {
    worlds(async |world| {
        let (mut device, mut restored) = set_back(&world).await;
        let taken = asked(&world, &mut restored).await;
        let rebased = rebase(&world, &taken, "back_1").await.expect("a rebase");
        // The other copy of the container did not ask.
        assert_eq!(device.import(&rebased.file.bytes).expect_err("not its own"), FileError::NotAnAnswer);
        restored.import(&rebased.file.bytes).expect("the rebase");
        let mut stranger = world.device(9);
        stranger.state.counter = 3;
        let unknown = asked(&world, &mut stranger).await;
        assert_eq!(code(rebase(&world, &unknown, "back_9").await.expect_err("unknown")), ErrorCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_context_written_after_a_later_proof_is_a_rollback() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let early = challenge(&world).await;
        let backup = device.clone();
        let first = world.issue(&device, "act_1", vec![add(1)]).await;
        // Written before the import, carried in after it: no more than old.
        let waiting = device.fresh_context(early);
        world.clock.advance(Duration::from_secs(60));
        let receipt = device.import(&first.file.bytes).expect("an import");
        world.take(&receipt).await;
        assert_eq!(world.take(&waiting).await.verdict, Verdict::Old);
        assert!(world.chain(&device).await.suspicions.is_empty());
        // The backup writes a context with a number from the past, but with a challenge from after the proof.
        world.clock.advance(Duration::from_secs(60));
        let late = challenge(&world).await;
        let mut restored = backup;
        restored.sequence = 0;
        let taken = world.take(&restored.fresh_context(late)).await;
        assert_eq!(taken.verdict, Verdict::RollbackSuspected);
        assert_eq!(taken.chain.expect("known").suspicions.to_string(), "rollback");
    })
    .await;
}

#[tokio::test]
async fn a_rebase_that_is_killed_at_any_step_ends_as_the_same_bytes() {
    worlds(async |world| {
        for (place, step) in Step::ALL.into_iter().enumerate() {
            let mut device = world.known_device(50 + u8::try_from(place).expect("a small number")).await;
            world.issue(&device, &format!("act_{place}"), vec![add(1)]).await;
            let taken = asked(&world, &mut device).await;
            let reference = format!("back_{place}");
            let dying = world.restarted(Some(DieAt::first(step))).await;
            let died = rebase(&dying, &taken, &reference).await;
            assert!(matches!(died, Err(Failure::Stopped(at)) if at == step), "{step:?}");
            let next = world.restarted(None).await;
            next.issuer.resume().await.expect("a resumer");
            let pending = next.pending(&device).await;
            let rebased = rebase(&next, &taken, &reference).await.expect("a rebase");
            if step != Step::Asked {
                assert_eq!(pending.as_deref(), Some(rebased.file.bytes.as_slice()), "{step:?}");
            }
            assert_eq!(rebase(&world, &taken, &reference).await.expect("the same"), rebased);
            let told = world.event_types().await.iter().filter(|kind| *kind == "container.rebased").count();
            assert_eq!(told, place + 1, "{step:?}");
            device.import(&rebased.file.bytes).expect("the rebase");
            assert!(device.holds(license(1)));
        }
    })
    .await;
}

#[tokio::test]
async fn the_time_is_signed_by_the_time_role_for_one_nonce() {
    worlds(async |world| {
        let nonce = [5; 32];
        let signed = world.issuer.sign_time(firm(FIRM), &nonce).await.expect("a statement");
        let envelope = Envelope::from_bytes(&signed).expect("an envelope");
        let statement: TimeStatement = world.root.open(&envelope).expect("the time role");
        assert_eq!((statement.nonce(), statement.time()), (&nonce[..], crate::world::noon()));
        for nonce in [&[1_u8; 15][..], &[1; 65]] {
            let refused = world.issuer.sign_time(firm(FIRM), nonce).await;
            assert_eq!(code(refused.expect_err("a wrong size")), ErrorCode::InvalidArgument);
        }
        assert_eq!(code(world.issuer.sign_time(firm(8), &nonce).await.expect_err("no firm")), ErrorCode::NotFound);
    })
    .await;
}

/// What events say of rebases and blocks.
async fn reasons(world: &World) -> Vec<String> {
    use lictor_api::event::v1::event::Data;
    let events = world.events().await.into_iter();
    events
        .filter_map(|event| match event.data {
            Some(Data::ContainerRebased(rebased)) => Some(rebased.reason),
            Some(Data::ContainerBlocked(blocked)) => Some(blocked.reason),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn the_reasons_of_a_rebase_and_a_block_survive_the_loss_of_the_database() {
    worlds(async |world| {
        let (_, mut restored) = set_back(&world).await;
        let taken = asked(&world, &mut restored).await;
        rebase(&world, &taken, "back_1").await.expect("a rebase");
        let key = crate::world::request(&restored, "look", vec![withdraw(0)]).key;
        let block = BlockRequest::new("block_1".to_owned(), key, "lost in a train".to_owned()).expect("good form");
        world.issuer.block(&block).await.expect("a block");
        let told = reasons(&world).await;
        assert_eq!(told, ["restored from a backup", "lost in a train"]);
        let emptied = crate::backup::nothing(&world.db).await;
        let replayed = world.elsewhere(emptied.db.clone(), world.archive_db.clone());
        assert!(replayed.issuer.replay(0).await.expect("a replay").done);
        assert_eq!(reasons(&replayed).await, told);
    })
    .await;
}
