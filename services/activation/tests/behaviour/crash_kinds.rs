//! Every kind of saga, killed at every step: the next process ends what was begun, with one segment for each container
//! that changes, one event of each kind for each saga, and no seat doubled or lost.

use std::time::Duration;

use lictor_activation::{saga::Step, store::Wanted};
use lictor_api::{activation::v1::TransferLicenseRequest, central::v1::Ticket};
use lictor_clock::Clock as _;
use lictor_test_support::device::TestDevice;
use tonic::Status;

use crate::{
    front::{Front, moving},
    world::{FIRM, World, on_each_engine},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Return,
    Transfer,
    Replace,
    Rebase,
}

/// Two containers and a license of ten seats in the first.
struct Case {
    asked: Asked,
    request_id: String,
    ticket: Ticket,
    license: String,
    old: TestDevice,
    new: TestDevice,
    /// What is asked with, the same in each repeat.
    context: Vec<u8>,
}

impl Case {
    async fn new(world: &World, front: &Front, asked: Asked, name: String) -> Self {
        let (ticket, mut old, mut new) = (world.floating(10).await, world.device(), world.device());
        let license = front.put_in(&mut old, &ticket, 10).await;
        front.submit(new.context()).await.expect("seen");
        let context = match asked {
            Asked::Replace => new.context(),
            Asked::Return | Asked::Transfer | Asked::Rebase => front.fresh(&mut old).await,
        };
        Self { asked, request_id: name, ticket, license, old, new, context }
    }

    /// Asks, and gives the update file.
    async fn ask(&self, front: &Front) -> Result<Vec<u8>, Status> {
        let (id, context) = (&self.request_id, self.context.clone());
        match self.asked {
            Asked::Return => Ok(front.give_back(id, &self.ticket, 4, context).await?.update),
            Asked::Transfer => {
                let request = TransferLicenseRequest {
                    to_serial: self.new.serial.clone(),
                    ..moving(id, &self.ticket, 4, context)
                };
                Ok(front.transfer(request).await?.update)
            }
            Asked::Replace => Ok(front.replace(id, &self.ticket, &self.old, context).await?.update),
            Asked::Rebase => Ok(front.rebase(id, context).await?.update),
        }
    }

    /// The container that the update file is for.
    fn receiver(&mut self) -> &mut TestDevice {
        if self.asked == Asked::Replace { &mut self.new } else { &mut self.old }
    }

    /// Seats in the old container, in the new one, and free, when all is done. A lost container keeps what it has.
    fn expected(&self) -> (u32, u32, u32) {
        match self.asked {
            Asked::Return => (6, 0, 4),
            Asked::Transfer => (6, 4, 0),
            Asked::Replace => (10, 10, 0),
            Asked::Rebase => (10, 0, 0),
        }
    }
}

async fn killed_at_every_step(asked: Asked, least: usize) {
    on_each_engine(async |world| {
        let mut struck = 0;
        for skip in [0, 1] {
            for step in Step::ALL {
                let healthy = world.front().await;
                let mut case = Case::new(&world, &healthy, asked, format!("{asked:?}-{step:?}-{skip}")).await;
                let (dying, killer) = world.front_killed_after(step, skip).await;
                let first = case.ask(&dying).await;
                let heir = if first.is_err() { world.front().await } else { dying };
                heir.resume().await;
                let update = case.ask(&heir).await.expect("repeated");
                if let Ok(first) = first {
                    assert_eq!(first, update, "{step:?}");
                }
                let receipt = case.receiver().import(&update).expect("a good update file");
                heir.submit(receipt).await.expect("taken");
                heir.take_proofs().await;
                let arriving = heir.pending(&case.new).await;
                if !arriving.is_empty() && asked == Asked::Transfer {
                    let receipt = case.new.import(&arriving).expect("a good update file");
                    heir.submit(receipt).await.expect("taken");
                    heir.take_proofs().await;
                }
                struck += usize::from(killer.has_struck());

                let last = world.front().await;
                last.take_proofs().await;
                last.resume().await;
                let arriving = last.pending(&case.new).await;
                if !arriving.is_empty() {
                    last.import(&mut case.new, &arriving).await;
                }
                let now = world.vendor.clock.now();
                let free = world.vendor.license(&case.license).await.available;
                let there = (case.old.seats(&case.license, now), case.new.seats(&case.license, now), free);
                assert_eq!(there, case.expected(), "{asked:?} {step:?}");
            }
        }
        assert!(struck >= least, "only {struck} kills struck");
        all_ended_once(&world).await;
    })
    .await;
}

/// Every saga has ended, and was announced once when it was issued and once when it was proven.
async fn all_ended_once(world: &World) {
    let front = world.front().await;
    world.vendor.clock.advance(Duration::from_secs(1));
    let wanted = Wanted { firm: FIRM, all: true, after: None, limit: 1_000 };
    let sagas = front.runner.store().list(&wanted).await.expect("a store");
    for saga in sagas {
        assert_eq!(saga.state.name(), "confirmed", "{saga:?}");
        let once = usize::from(!saga.licenses.is_empty());
        assert_eq!(world.announced(&saga.id.to_string()).await, (once, once), "{saga:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_killed_at_any_step_credits_once() {
    killed_at_every_step(Asked::Return, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_killed_at_any_step_of_either_leg_moves_once() {
    killed_at_every_step(Asked::Transfer, 19).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_killed_at_any_step_blocks_and_issues_once() {
    killed_at_every_step(Asked::Replace, 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebase_killed_at_any_step_begins_one_epoch() {
    killed_at_every_step(Asked::Rebase, 9).await;
}
