//! Seats that move between containers of one customer and the vendor, while processes die and files are lost, late, and
//! out of order. After every step each license has at most as many usable seats as were sold; when everything is
//! delivered, exactly as many.
//!
//! `LICTOR_TEST_SCALE` is the number of runs on SQLite, of which every tenth is done on PostgreSQL too, `LICTOR_TEST_SEED` repeats one.
//!
//! Tolerance of loans: the borrower's entry ends on the date of the loan, by the container's own clock, and the lender has
//! its seats back a day later; here both read one clock, so no tolerance is needed.

mod chance;
mod judge;
mod town;
mod wishes;

use chance::Chance;
use town::Town;

use crate::world::{World, on_postgres_throughout, on_sqlite};

/// Steps of one run.
const STEPS: u32 = 120;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// One seed of so many runs on PostgreSQL too, where everything takes longer.
const ON_POSTGRES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn transfers_neither_double_nor_lose_seats() {
    let seeds: Vec<u64> = match number("LICTOR_TEST_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("LICTOR_TEST_SCALE").unwrap_or(1)).collect(),
    };
    for (place, seed) in seeds.into_iter().enumerate() {
        on_sqlite(async |world| live("SQLite", world, seed).await).await;
        if place % ON_POSTGRES == 0 {
            on_postgres_throughout(async |world| live("PostgreSQL", world, seed).await).await;
        }
    }
}

async fn live(engine: &str, world: World, seed: u64) {
    eprintln!("seed {seed} on {engine} (LICTOR_TEST_SEED={seed} repeats it)");
    let mut town = Town::new(world, Chance::new(seed)).await;
    for _ in 0..STEPS {
        let step = town.step().await;
        town.nothing_is_doubled(&step).await;
    }
    town.deliver_everything().await;
    town.nothing_is_lost().await;
    eprintln!("{}", town.told());
}
