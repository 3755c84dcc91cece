//! Seats are neither made nor lost, whatever happens in which order: the store against a model that counts on its fingers.

use std::collections::BTreeMap;

use lictor_clock::Clock as _;
use lictor_license_central::{
    domain::{
        license::License,
        plan::{Departure, Purpose},
    },
    ids,
    store::DueWork,
};
use lictor_licensing::id::{ActivationId, TransferId};

use crate::world::{World, machine, on_each_engine, pick, take};

const SEATS: u32 = 6;
const PLACES: [char; 3] = ['a', 'b', 'c'];

/// A fixed sequence of numbers: the same run every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Planned,
    Kept,
    Committed,
    Ended,
}

/// What the model knows without asking: in which containers entries may be, by what was issued and proven.
#[derive(Default)]
struct Model {
    plans: Vec<(ActivationId, char, Stage)>,
    /// Seats that the newest issued segment leaves in each container.
    issued: BTreeMap<char, u32>,
    answers: BTreeMap<String, (char, Option<u32>)>,
}

impl Model {
    async fn plan(&mut self, world: &World, license: &License, dice: &mut Dice) {
        let place = PLACES[dice.roll(PLACES.len())];
        let other = PLACES[dice.roll(PLACES.len())];
        let seats = u32::try_from(dice.roll(4)).expect("small");
        let purpose = match dice.roll(6) {
            0 | 1 => take(license, seats),
            2 => Purpose::GiveBack { ticket: license.ticket, picks: vec![pick(license, seats)] },
            3 => Purpose::Depart(Departure {
                transfer: TransferId::new(world.clock.now(), ids::random()),
                ticket: Some(license.ticket),
                pick: pick(license, seats),
                target: Some(machine(other)),
                lend_until: (dice.roll(2) == 0)
                    .then(|| world.clock.now().saturating_add(lictor_clock::duration::days(1))),
                returns: None,
            }),
            4 => Purpose::Replace { ticket: license.ticket, lost_serial: machine(other).serial, by_hand: true },
            _ => return self.do_what_is_due(world, license).await,
        };
        self.try_plan(world, license, place, purpose).await;
    }

    async fn do_what_is_due(&mut self, world: &World, license: &License) {
        for work in world.store.due(world.clock.now(), 10).await.expect("a store") {
            match work {
                DueWork::Arrival(transfer) => {
                    let to = world.store.transfer(transfer).await.expect("a store").expect("there").to_container;
                    let place = to.chars().next().expect("an id");
                    self.try_plan(world, license, place, Purpose::Arrive { transfer }).await;
                }
                DueWork::Loan(loan) => {
                    let part = world.again(license).await.allocations;
                    let part = part.into_iter().find(|part| part.transfer == Some(loan)).expect("lent");
                    let place = part.container.chars().next().expect("an id");
                    let departure = Departure {
                        transfer: TransferId::new(world.clock.now(), ids::random()),
                        ticket: None,
                        pick: pick(license, 0),
                        target: None,
                        lend_until: None,
                        returns: Some(loan),
                    };
                    self.try_plan(world, license, place, Purpose::Depart(departure)).await;
                }
                DueWork::Renewal(_) => {}
            }
        }
    }

    async fn try_plan(&mut self, world: &World, license: &License, place: char, purpose: Purpose) {
        let activation = world.activation();
        let Ok(plan) = world.plan(activation, place, purpose.clone()).await else { return };
        let again = world.plan(activation, place, purpose).await.expect("a repeat");
        assert_eq!(plan, again, "the same plan comes back");
        let after = crate::world::issued(&plan).first().map(|(id, _, seats)| {
            assert_eq!(*id, license.id);
            *seats
        });
        self.answers.insert(activation.to_string(), (place, after));
        self.plans.push((activation, place, Stage::Planned));
    }

    async fn step(&mut self, world: &World, dice: &mut Dice) {
        if self.plans.is_empty() {
            return;
        }
        let at = dice.roll(self.plans.len());
        let (activation, place, stage) = self.plans[at];
        let moment = world.moment();
        let store = &world.store;
        let next = match (dice.roll(5), stage) {
            (0, Stage::Planned) if store.release(activation, "given up", false, &moment).await.is_ok() => Stage::Ended,
            (0, Stage::Kept) if store.release(activation, "refused", true, &moment).await.is_ok() => Stage::Ended,
            (_, Stage::Planned) => match store.keep(activation, moment.now).await {
                Ok(()) => Stage::Kept,
                Err(_) => Stage::Ended,
            },
            (_, Stage::Kept) => {
                store.commit(activation, 1, &moment).await.expect("a kept plan can always be committed");
                if let Some((_, Some(seats))) = self.answers.get(&activation.to_string()) {
                    self.issued.insert(place, *seats);
                }
                Stage::Committed
            }
            (1 | 2, Stage::Committed) => match store.confirm(activation, &moment).await {
                Ok(()) => Stage::Committed,
                Err(refused) => {
                    assert!(refused.to_string().contains("somebody else"), "{refused}");
                    Stage::Committed
                }
            },
            (_, stage) => stage,
        };
        self.plans[at].2 = next;
        if dice.roll(8) == 0 && next == Stage::Committed {
            store.commit(activation, 1, &moment).await.expect("a repeat");
            assert!(store.release(activation, "too late", true, &moment).await.is_err());
        }
    }

    async fn check(&self, world: &World, license: &License) {
        let now = world.again(license).await;
        let parts: u32 = now.allocations.iter().map(lictor_license_central::domain::license::Allocation::weight).sum();
        assert_eq!(parts + now.free(), SEATS, "seats were made or lost: {:?}", now.allocations);
        let row = lictor_storage::sqlx::query("SELECT taken FROM license WHERE license_id = $1")
            .bind(license.id.to_string())
            .fetch_one(world.store.db().pool())
            .await
            .expect("the row");
        let taken: i64 = lictor_storage::sqlx::Row::try_get(&row, "taken").expect("a number");
        assert_eq!(taken, i64::from(parts), "the database counts the same");
        for place in PLACES {
            let held: u32 = now
                .allocations
                .iter()
                .filter(|part| part.state.is_issued() && part.container == machine(place).id)
                .map(|part| part.quantity)
                .sum();
            let issued = self.issued.get(&place).copied().unwrap_or_default();
            // A container that was written off keeps its last segment, and central counts nothing there.
            assert!(held == issued || held == 0, "container {place}: {held} counted, {issued} issued");
        }
        world.state(license).await;
    }
}

#[tokio::test]
async fn seats_are_neither_made_nor_lost_in_any_order_of_steps() {
    let scale: u64 = std::env::var("LICTOR_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    on_each_engine(async |world| {
        const POOL: &str = "
firm_code: 6000001
items:
  - name: pool
    product_item:
      product_code: 700
      license_quantity: {count: 4}
      transfer: {may_move: true, may_return: true, splittable: true}
";
        world.apply(POOL, "pool").await.expect("applied");
        for seed in 0..4 * scale {
            let license = world.sold("pool", SEATS).await;
            let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1);
            let mut model = Model::default();
            for _ in 0..120 {
                match dice.roll(12) {
                    0..4 => model.plan(&world, &license, &mut dice).await,
                    4 => world.clock.advance(std::time::Duration::from_secs(901)),
                    5 if dice.roll(4) == 0 => world.clock.advance(lictor_clock::duration::days(1)),
                    _ => model.step(&world, &mut dice).await,
                }
                model.check(&world, &license).await;
            }
        }
    })
    .await;
}
