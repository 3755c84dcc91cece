//! The vendor takes a license back that lies in several containers.

use lictor_api::types::v1::LicenseState;

use crate::world::on_each_engine;

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_covers_every_container_that_holds_some_of_it() {
    on_each_engine(async |world| {
        let front = world.front().await;
        let ticket = world.floating(10).await;
        let mut devices = [world.device(), world.device(), world.device()];
        for device in &mut devices {
            front.put_in(device, &ticket, 3).await;
        }
        let license = &ticket.licenses[0].license_id;
        front.withdraw("all", license).await.expect("begun");
        front.resume().await;
        // Each container's plan waits for the one before; nobody has to ask again.
        for _ in 0..4 {
            world.vendor.clock.advance(std::time::Duration::from_secs(2));
            front.resume().await;
        }
        let told = front.withdraw("all", license).await.expect("repeated");
        assert_eq!((told.state.as_str(), told.serials.len()), ("returning", 3), "{told:?}");
        for device in &mut devices {
            let update = front.pending(device).await;
            front.import(device, &update).await;
            assert!(!device.holds(license));
        }
        let told = front.withdraw("all", license).await.expect("repeated");
        assert_eq!((told.state.as_str(), told.serials.len()), ("withdrawn", 0));
        assert_eq!(world.vendor.state(license).await, LicenseState::Withdrawn);
    })
    .await;
}
