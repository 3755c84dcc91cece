//! A process that is killed at any point of issuing, and what the next one finds.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use lictor_license_file::update::UpdateFile;
use lictor_push_update_generator::{
    Failure,
    issue::{Step, Watch},
    store,
};
use lictor_storage::sqlx::{self, Row};
use lictor_test_support::device::TestDevice;

use crate::world::{World, add, license, request, worlds};

/// Dies at the first time that a step is reached, and lives on afterwards.
pub(crate) struct DieAt(Step, AtomicUsize);

impl DieAt {
    pub(crate) fn first(step: Step) -> Arc<dyn Watch> {
        Arc::new(Self(step, AtomicUsize::new(0)))
    }
}

impl Watch for DieAt {
    fn reached(&self, step: Step) -> ControlFlow<()> {
        if step == self.0 && self.1.fetch_add(1, Ordering::SeqCst) == 0 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// Dies at every third step or so, always in the same order.
struct DieOften(Mutex<u64>);

impl Watch for DieOften {
    fn reached(&self, _: Step) -> ControlFlow<()> {
        let mut state = self.0.lock().expect("nobody panics here");
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        if state.is_multiple_of(3) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The bytes that were fixed for a reference, if they were.
async fn reserved_bytes(world: &World, reference: &str) -> Option<Vec<u8>> {
    sqlx::query("SELECT payload FROM segment WHERE reference = $1")
        .bind(reference)
        .fetch_optional(world.db.pool())
        .await
        .expect("a database")
        .map(|row| row.get(0))
}

fn signed_payload(file: &[u8]) -> Vec<u8> {
    let file = UpdateFile::read(file).expect("an update file");
    file.segments.last().expect("a segment").envelope().unverified_payload().to_vec()
}

#[tokio::test]
async fn a_crash_at_any_step_leads_to_the_same_bytes() {
    worlds(async |world| {
        for (place, step) in Step::ALL.into_iter().enumerate() {
            for earlier in [0, 2] {
                let number = u8::try_from(place * 10 + earlier + 1).expect("a small number");
                let device = world.known_device(number).await;
                for before in 0..earlier {
                    let before = u8::try_from(before).expect("a small number");
                    world.issue(&device, &format!("before_{number}_{before}"), vec![add(100 + before)]).await;
                }
                crash_and_go_on(&world, device, step, &format!("act_{number}")).await;
            }
        }
    })
    .await;
}

async fn crash_and_go_on(world: &World, mut device: TestDevice, step: Step, reference: &str) {
    let dying = world.restarted(Some(DieAt::first(step))).await;
    let died = dying.try_issue(&device, reference, vec![add(1)]).await;
    assert!(matches!(died, Err(Failure::Stopped(at)) if at == step), "{step:?}");
    let fixed = reserved_bytes(world, reference).await;
    assert_eq!(fixed.is_some(), step != Step::Asked, "{step:?}");
    let announced = issued_events(world, reference).await;
    assert_eq!(announced, usize::from(step == Step::Issued), "nothing is announced before it is stored: {step:?}");

    // The next process finishes it by itself, and once.
    let next = world.restarted(None).await;
    let waiting = !matches!(step, Step::Asked | Step::Issued);
    assert_eq!(next.issuer.resume().await.expect("a resumer"), u64::from(waiting), "{step:?}");
    assert_eq!(next.issuer.resume().await.expect("a resumer"), 0);
    let pending = next.pending(&device).await;
    // The caller, who has no answer, asks again.
    let issued = next.issue(&device, reference, vec![add(1)]).await;
    if let Some(fixed) = fixed {
        assert_eq!(signed_payload(&issued.file.bytes), fixed, "{step:?}");
        assert_eq!(pending.as_deref(), Some(issued.file.bytes.as_slice()), "{step:?}");
    }
    assert_eq!(next.issue(&device, reference, vec![add(1)]).await, issued);
    assert_eq!(issued_events(world, reference).await, 1, "{step:?}");
    let receipt = device.import(&issued.file.bytes).expect("an import");
    assert!(device.holds(license(1)));
    assert_eq!(next.take(&receipt).await.chain.expect("known").confirmed, issued.to);
}

async fn issued_events(world: &World, reference: &str) -> usize {
    let events = world.events().await;
    events
        .iter()
        .filter(|event| {
            matches!(&event.data, Some(lictor_api::event::v1::event::Data::UpdateIssued(issued))
                if issued.reference == reference)
        })
        .count()
}

#[tokio::test]
async fn the_next_request_finishes_what_was_left_before_it() {
    worlds(async |world| {
        for step in [Step::Reserved, Step::Signed, Step::Archived] {
            let number = 40 + step as u8;
            let mut device = world.known_device(number).await;
            let dying = world.restarted(Some(DieAt::first(step))).await;
            let lost = format!("lost_{number}");
            assert!(dying.try_issue(&device, &lost, vec![add(1)]).await.is_err());
            // No resumer ran; the caller of the lost one never comes back.
            let next = world.issue(&device, &format!("next_{number}"), vec![add(2)]).await;
            assert_eq!((next.from, next.to, next.file.segments), (1, 2, 2));
            assert_eq!(issued_events(&world, &lost).await, 1);
            device.import(&next.file.bytes).expect("an import");
            assert!(device.holds(license(1)) && device.holds(license(2)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_context_that_comes_in_between_finds_a_finished_chain() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let dying = world.restarted(Some(DieAt::first(Step::Archived))).await;
        assert!(dying.try_issue(&device, "act_1", vec![add(1)]).await.is_err());
        let taken = world.take(&device.context()).await;
        assert_eq!((taken.verdict.name(), taken.chain.expect("known").issued), ("ok", 1));
    })
    .await;
}

#[tokio::test]
async fn a_storm_of_crashes_leaves_one_chain_and_one_event_each() {
    worlds(async |world| {
        let mut device = world.known_device(1).await;
        let storm = world.restarted(Some(Arc::new(DieOften(Mutex::new(0x2545_F491_4F6C_DD1D))))).await;
        let mut crashes = 0;
        for number in 0..20 {
            let reference = format!("act_{number}");
            // The caller asks until there is an answer; each crash is a new process.
            while storm.try_issue(&device, &reference, vec![add(number)]).await.is_err() {
                crashes += 1;
                assert!(crashes < 1_000, "it never gets through");
            }
        }
        assert!(crashes > 10, "only {crashes} crashes");
        let chain = world.chain(&device).await;
        assert_eq!((chain.issued, chain.reserved), (20, 20));
        for number in 0..20 {
            assert_eq!(issued_events(&world, &format!("act_{number}")).await, 1);
        }
        let key = request(&device, "look", vec![add(0)]).key;
        let envelopes = store::segment::envelopes(&world.db, &key, 0, 0, 20).await.expect("segments");
        assert_eq!(envelopes.len(), 20);
        device.import(&world.pending(&device).await.expect("a file")).expect("an import");
        assert_eq!(device.state.counter, 20);
    })
    .await;
}
