//! What must hold when everything is quiet again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use lictor_api::event::v1::event::Data;
use lictor_api::types::v1::LicenseState;
use lictor_test_support::receiver::Receiver;
use lictor_test_support::wait;

use crate::customer::Ledger;
use crate::vendor::Vendor;

/// The seats of every licence are where their containers hold them, or withdrawn, and nowhere else.
pub(crate) async fn licenses(vendor: &Vendor, ledger: &Ledger) -> anyhow::Result<()> {
    until("every license is where its container says", async || {
        let all = vendor.all_licenses().await?;
        ensure!(all.len() == ledger.ends.len(), "{} licenses for {} orders", all.len(), ledger.ends.len());
        for license in all {
            let end = ledger.ends.get(&license.license_id).context("a license that nobody bought")?;
            let places: BTreeMap<String, u32> = license
                .allocations
                .iter()
                .filter(|place| place.state() == LicenseState::Confirmed)
                .map(|place| (place.serial.clone(), place.quantity))
                .collect();
            let state = if end.is_empty() { LicenseState::Withdrawn } else { LicenseState::Confirmed };
            ensure!(
                license.state() == state
                    && places == *end
                    && (end.is_empty() || license.allocations.len() == end.len()),
                "{} is {:?} in {:?}, not {end:?}",
                license.license_id,
                license.state(),
                license.allocations
            );
        }
        Ok(())
    })
    .await
}

/// No chain has anything open, and none is suspected of anything.
pub(crate) async fn containers(vendor: &Vendor) -> anyhow::Result<()> {
    until("every chain is proven to its end", async || {
        for container in vendor.all_containers().await? {
            ensure!(
                container.confirmed == container.latest && container.suspicion.is_empty(),
                "{}: {} of {}, {:?}",
                container.serial,
                container.confirmed,
                container.latest,
                container.suspicion
            );
        }
        Ok(())
    })
    .await
}

/// Nothing is left to be done for any activation: what the containers proved has been noted everywhere.
pub(crate) async fn activations(vendor: &Vendor) -> anyhow::Result<()> {
    until("every activation has ended", async || {
        let open = vendor.open().await?;
        ensure!(open.is_empty(), "{} are open, such as {:?}", open.len(), open.first());
        Ok(())
    })
    .await
}

/// Every event of every service came by webhook, each under one id; no number of a feed is missing; each activation was
/// announced once and proven once, and each renewal that was due is one activation. Gives the number of events.
pub(crate) async fn events(vendor: &Vendor, back_office: &Receiver, ledger: &Ledger) -> anyhow::Result<usize> {
    let mut wanted = HashSet::new();
    let mut renewals = HashMap::<(String, String), usize>::new();
    let mut announced = HashMap::<(String, &str), usize>::new();
    for (service, events) in vendor.feeds().await? {
        for (event, number) in events.iter().zip(1..) {
            ensure!(event.sequence == number, "{service:?} has no event {number}: {}", event.sequence);
            wanted.insert(event.id.clone());
            match &event.data {
                Some(Data::ActivationCompleted(data)) => {
                    *announced.entry((data.activation_id.clone(), "completed")).or_default() += 1;
                    for license in data.license_ids.iter().filter(|_| data.kind == "renew") {
                        *renewals.entry((license.clone(), data.serial.clone())).or_default() += 1;
                    }
                }
                Some(Data::ActivationConfirmed(data)) => {
                    *announced.entry((data.activation_id.clone(), "confirmed")).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    ensure!(announced.values().all(|count| *count == 1), "an activation was announced twice");
    let completed = announced.keys().filter(|(_, what)| *what == "completed").count();
    ensure!(completed * 2 == announced.len(), "{completed} completed, {} confirmed", announced.len() - completed);

    for (license, ends) in &ledger.renewed {
        for serial in ends.keys() {
            let times = renewals.get(&(license.clone(), serial.clone()));
            ensure!(times == Some(&1), "{license} in {serial} was renewed {times:?} times");
        }
    }

    // As long as more arrive, it is not over.
    let mut missing = usize::MAX;
    while missing > 0 {
        let before = missing;
        missing = wait::until("more webhooks arrive", || {
            let arrived = back_office.ids();
            let now = wanted.difference(&arrived).count();
            ensure!(now < before, "{now} of {} events did not arrive", wanted.len());
            Ok(Some(now))
        })?;
    }
    for (id, bodies) in back_office.bodies() {
        ensure!(bodies == 1, "{id} came with {bodies} different bodies");
    }
    Ok(wanted.len())
}

async fn until(what: &str, holds: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    let began = tokio::time::Instant::now();
    loop {
        pace.tick().await;
        match holds().await {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > wait::PATIENCE => return Err(error.context(what.to_owned())),
            Err(_) => {}
        }
    }
}
