//! Containers that were away: updates that never arrived come with the next file, and a container that slept through
//! hundreds of them takes one small file.

use anyhow::{Context, ensure};
use lictor_api::activation::v1::push_service_client::PushServiceClient;
use lictor_api::activation::v1::{CreatePushRequest, GetPendingUpdateRequest};
use lictor_api::central::v1::order_service_client::OrderServiceClient;
use lictor_api::central::v1::{CreateOrderRequest, OrderLine};
use lictor_runtime::client::ServiceChannel;
use lictor_test_support::calls::{Caller, insist};
use lictor_test_support::fleet::{FIRM_CODE, Fleet, Service};
use lictor_test_support::wait;
use serde_json::json;

/// Updates that the second container sleeps through.
const SLEPT: usize = 500;
/// Orders that are made at a time.
const AT_A_TIME: usize = 8;

struct BackOffice {
    orders: OrderServiceClient<ServiceChannel>,
    pushes: PushServiceClient<ServiceChannel>,
}

impl BackOffice {
    fn of(fleet: &Fleet) -> anyhow::Result<Self> {
        Ok(Self {
            orders: OrderServiceClient::new(fleet.channel(Service::Central, Caller::Admin)?),
            pushes: PushServiceClient::new(fleet.channel(Service::Activation, Caller::Admin)?)
                .max_decoding_message_size(8 << 20),
        })
    }

    async fn order(&self, number: usize) -> anyhow::Result<String> {
        let request = CreateOrderRequest {
            request_id: format!("order-{number}"),
            firm_code: FIRM_CODE,
            customer: "Nova".to_owned(),
            lines: vec![OrderLine { item: "reports".to_owned(), quantity: 0 }],
            reference: String::new(),
        };
        let answer = insist("an order", async || self.orders.clone().create_order(request.clone()).await).await?;
        let order = answer.into_inner().order.context("an order")?;
        Ok(order.tickets.into_iter().next().context("a ticket")?.ticket)
    }

    /// Orders and pushes; gives the file and the number of steps in it.
    async fn push(&self, number: usize, serial: &str, ticket: String) -> anyhow::Result<(Vec<u8>, u32)> {
        let request = CreatePushRequest {
            request_id: format!("push-{number}"),
            firm_code: FIRM_CODE,
            serial: serial.to_owned(),
            ticket,
            ..CreatePushRequest::default()
        };
        let answer = insist("a push", async || self.pushes.clone().create_push(request.clone()).await).await?;
        let answer = answer.into_inner();
        Ok((answer.update, answer.segments))
    }
}

/// Everything issued is proven, and every licence of the vendor is confirmed.
fn check(fleet: &Fleet, serial: &str, steps: usize) -> anyhow::Result<()> {
    let chain = fleet.ok(&["container", "show", serial])?;
    ensure!(chain["confirmed"] == json!(steps) && chain["latest"] == json!(steps), "{chain}");
    let listed = fleet.ok(&["server", "list"])?;
    let entries = listed["containers"][0]["firms"][0]["entries"].as_array().context("entries are a list")?.len();
    ensure!(entries == steps, "{entries} entries after {steps} updates");
    wait::until("every license is confirmed", || {
        let answer = fleet.run(&["license", "list", "--state", "confirmed"])?;
        ensure!(answer.code == 0, "{}", answer.errors);
        Ok((answer.output.lines().count() == steps).then_some(()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_2_to_9_that_never_arrived_come_in_one_combined_file() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start()? else { return Ok(()) };
    let serial = fleet.set_up()?;
    let office = BackOffice::of(&fleet)?;
    fleet.ok(&["activate", &office.order(1).await?])?;
    let mut files = Vec::new();
    for number in 2..=9 {
        let (file, steps) = office.push(number, &serial, office.order(number).await?).await?;
        ensure!(steps as usize == number - 1, "file {number} has {steps} steps");
        files.push(file);
    }
    // None of the eight arrived. The pending file has them all, and so has the last one.
    let pending = fleet.ok(&["push", "pending", &serial, "-o", "combined.rau"])?;
    ensure!(pending["segments"] == 8 && pending["to"] == 9, "{pending}");
    ensure!(std::fs::read(fleet.path("combined.rau"))? == files[7], "the pending file is the last file, byte for byte");
    let imported = fleet.ok(&["server", "import", "combined.rau", "-o", "receipt.rac"])?;
    ensure!(imported["applied"] == 8, "{imported}");
    // The lost files turn up after all, in any order: they are skipped.
    for (place, file) in files.iter().enumerate().rev() {
        std::fs::write(fleet.path("late.rau"), file)?;
        let late = fleet.ok(&["server", "import", "late.rau"])?;
        ensure!(late["applied"] == 0 && late["skipped"] == json!(place + 1), "{late}");
    }
    fleet.ok(&["push", "context", "receipt.rac"])?;
    check(&fleet, &serial, 9)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_sleeps_through_500_updates_takes_one_small_file() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start()? else { return Ok(()) };
    let serial = fleet.set_up()?;
    let office = BackOffice::of(&fleet)?;
    fleet.ok(&["activate", &office.order(0).await?])?;
    let mut most = 0;
    for first in (1..=SLEPT).step_by(AT_A_TIME) {
        let numbers = first..(first + AT_A_TIME).min(SLEPT + 1);
        let orders = futures_util::future::join_all(numbers.clone().map(|number| office.order(number))).await;
        for (number, ticket) in numbers.zip(orders) {
            let (_, steps) = office.push(number, &serial, ticket?).await?;
            most = most.max(steps);
        }
    }
    ensure!(most <= 65, "a file had {most} steps: there is a checkpoint beyond 64");
    let request = GetPendingUpdateRequest { firm_code: FIRM_CODE, serial: serial.clone() };
    let file = office.pushes.clone().get_pending_update(request).await?.into_inner().update;
    ensure!(file.len() < 1 << 20, "{} bytes for a container that slept", file.len());
    std::fs::write(fleet.path("awake.rau"), &file)?;
    let imported = fleet.ok(&["server", "import", "awake.rau", "-o", "receipt.rac"])?;
    ensure!(imported["to"] == json!(SLEPT + 1), "{imported}");
    fleet.ok(&["push", "context", "receipt.rac"])?;
    check(&fleet, &serial, SLEPT + 1)
}
