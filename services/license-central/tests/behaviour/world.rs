//! A store with a small catalogue, and short ways to do things with it.

use lictor_api::{
    central::v1::PlanResponse,
    event::v1::{Event, ListEventsRequest, event::Data},
    types::v1::license_change::Change,
};
use lictor_clock::{Clock as _, ManualClock, Timestamp};
use lictor_license_central::{
    domain::{
        catalogue::{Catalogue, EncodedItem},
        license::{License, LicenseState},
        order::{CustomerName, NewOrder, OrderLine, Reference},
        page::Page,
        plan::{Pick, Place, PlanRequest, Purpose},
        ticket_key::TicketKey,
    },
    events::Moment,
    failure::Failure,
    grpc,
    ids::{self, OrderIds},
    store::{LicenseFilter, MIGRATIONS, MadeOrder, OrderRow, Store},
};
use lictor_licensing::{
    ContainerKind, FirmCode,
    error::ErrorCode,
    id::{ActivationId, LicenseId},
};
use lictor_storage::{Database, command::Command, testing::for_each_engine};
use prost::Message as _;

/// The seed's examples: a demo package of three applications, and two simulators of which one has an extra module.
pub(crate) const CATALOGUE: &str = include_str!("../../../../docs/catalogue-example.yaml");
pub(crate) const FIRM: u32 = 6_000_001;
pub(crate) const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) key: TicketKey,
    pub(crate) clock: ManualClock,
}

/// Runs a test on a fresh store of each engine, with the catalogue applied.
pub(crate) async fn on_each_engine(test: impl AsyncFn(World)) {
    for_each_engine(MIGRATIONS, async |db: Database| {
        let world = World { store: Store::new(db), key: TicketKey::new([9; 32]), clock: ManualClock::new(START) };
        world.apply(CATALOGUE, "catalogue").await.expect("the example applies");
        test(world).await;
    })
    .await;
}

pub(crate) fn firm() -> FirmCode {
    FirmCode::new(FIRM).expect("a firm")
}

pub(crate) fn encoded(document: &str) -> Vec<EncodedItem> {
    Catalogue::read(document, firm()).and_then(Catalogue::encode).expect("a good document")
}

pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> ErrorCode {
    match outcome {
        Err(Failure::Refused(problem)) => problem.code,
        other => panic!("not refused: {other:?}"),
    }
}

/// A container id made of one digit.
pub(crate) fn container(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// The machine whose container id is made of this digit.
pub(crate) fn machine(digit: char) -> Place {
    Place {
        id: container(digit),
        serial: format!("130-000000000{digit}"),
        kind: Some(ContainerKind::Machine),
        virtual_machine: false,
    }
}

/// Takes seats of a license by its ticket; 0 for all that are free.
pub(crate) fn take(license: &License, seats: u32) -> Purpose {
    Purpose::Activate { ticket: Some(license.ticket), picks: vec![pick(license, seats)], withdraw: Vec::new() }
}

pub(crate) fn pick(license: &License, quantity: u32) -> Pick {
    Pick { license: license.id, quantity }
}

/// What a plan has issued: the license, a word, and the seats after it.
pub(crate) fn issued(plan: &PlanResponse) -> Vec<(LicenseId, &'static str, u32)> {
    plan.changes
        .iter()
        .map(|change| {
            let id = change.license_id.parse().expect("a license id");
            match change.change.as_ref().expect("a change") {
                Change::Add(put) => (id, "add", put.quantity),
                Change::Replace(put) => (id, "replace", put.quantity),
                Change::Withdraw(_) => (id, "withdraw", 0),
                Change::RaiseUnits(_) => (id, "raise", 0),
            }
        })
        .collect()
}

impl World {
    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), traceparent: None }
    }

    pub(crate) fn activation(&self) -> ActivationId {
        ActivationId::new(self.clock.now(), ids::random())
    }

    pub(crate) async fn apply(&self, document: &str, request_id: &str) -> Result<Vec<u8>, Failure> {
        let items = encoded(document);
        let fresh = ids::items(items.len(), self.clock.now());
        let command = Command { caller: "test", method: "ApplyCatalogue", request_id, body: document.as_bytes() };
        self.store
            .apply_items(firm(), &items, &fresh, Some(&command), self.clock.now(), |applied| {
                format!("{:?}", (applied.created.len(), applied.changed.len(), applied.unchanged.len())).into_bytes()
            })
            .await
    }

    pub(crate) async fn try_order(&self, request_id: &str, lines: &[(&str, u32)]) -> Result<MadeOrder, Failure> {
        self.try_order_for("Example Ltd", request_id, lines).await
    }

    async fn try_order_for(
        &self,
        customer: &str,
        request_id: &str,
        lines: &[(&str, u32)],
    ) -> Result<MadeOrder, Failure> {
        let parsed = lines.iter().map(|(item, quantity)| OrderLine::new(item, *quantity));
        let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
        let order = NewOrder::new(firm(), CustomerName::new(customer)?, Reference::default(), parsed)?;
        let ids = OrderIds::fresh(lines.len(), self.clock.now());
        let body = format!("{lines:?}");
        let command = Command { caller: "test", method: "CreateOrder", request_id, body: body.as_bytes() };
        let answer = |row: &OrderRow| row.id.to_string().into_bytes();
        self.store.create_order(&order, &ids, &self.key, &command, &self.moment(), answer).await
    }

    /// An order with a ticket of these lines.
    pub(crate) async fn order(&self, lines: &[(&str, u32)]) -> OrderRow {
        let request_id = format!("order-{}", self.activation());
        let (MadeOrder::Now(id) | MadeOrder::Before(id)) = self.try_order(&request_id, lines).await.expect("an order");
        let id = String::from_utf8(id).expect("text").parse().expect("an order id");
        self.store.order(id).await.expect("a store").expect("the order")
    }

    /// Another customer buys an item, and it lies in the container whose id is this digit.
    pub(crate) async fn order_of(&self, customer: &str, item: &str, digit: char) {
        let made = self.try_order_for(customer, customer, &[(item, 0)]).await;
        let (MadeOrder::Now(id) | MadeOrder::Before(id)) = made.expect("an order");
        let id = String::from_utf8(id).expect("text").parse().expect("an order id");
        let order = self.store.order(id).await.expect("a store").expect("the order");
        self.put(&order.tickets[0].licenses[0], digit, 0, true).await;
    }

    /// One license of the counted item.
    pub(crate) async fn license(&self) -> License {
        self.order(&[("truck", 2)]).await.tickets[0].licenses[0].clone()
    }

    pub(crate) async fn again(&self, license: &License) -> License {
        self.store.license(license.id).await.expect("a store").expect("the license")
    }

    pub(crate) async fn state(&self, license: &License) -> LicenseState {
        let now = self.again(license).await;
        // What is stored for listings must be what follows from the allocations.
        let filter = LicenseFilter { state: Some(now.state()), ..LicenseFilter::default() };
        let page = Page { size: 1_000, below: None };
        let listed = self.store.licenses(firm(), &filter, &page).await.expect("a store");
        assert!(listed.iter().any(|other| other.id == license.id), "stored and derived state differ");
        now.state()
    }

    /// One license of an item with so many seats.
    pub(crate) async fn sold(&self, item: &str, seats: u32) -> License {
        self.order(&[(item, seats)]).await.tickets[0].licenses[0].clone()
    }

    /// Asks for a plan for the container whose id is this digit.
    pub(crate) async fn plan(
        &self,
        activation: ActivationId,
        digit: char,
        purpose: Purpose,
    ) -> Result<PlanResponse, Failure> {
        self.plan_at(activation, Some(machine(digit)), purpose).await
    }

    pub(crate) async fn plan_at(
        &self,
        activation: ActivationId,
        place: Option<Place>,
        purpose: Purpose,
    ) -> Result<PlanResponse, Failure> {
        let request = PlanRequest { activation, place, purpose };
        let answer = self.store.plan(&request, &self.moment(), grpc::plan::answer).await?;
        Ok(PlanResponse::decode(answer.as_slice()).expect("an answer"))
    }

    /// Carries a plan out: kept, issued, and proven if `proven`.
    pub(crate) async fn carry_out(&self, activation: ActivationId, proven: bool) {
        self.store.keep(activation, self.clock.now()).await.expect("kept");
        self.store.commit(activation, 1, &self.moment()).await.expect("committed");
        if proven {
            self.store.confirm(activation, &self.moment()).await.expect("confirmed");
        }
    }

    pub(crate) async fn reserve(&self, license: &License, activation: ActivationId) -> Result<PlanResponse, Failure> {
        self.plan(activation, 'a', take(license, 0)).await
    }

    /// Carries a license into the container `a`, up to proof if `confirmed`.
    pub(crate) async fn put_in(&self, license: &License, confirmed: bool) -> ActivationId {
        self.put(license, 'a', 0, confirmed).await
    }

    /// Carries seats of a license into a container; 0 for all that are free.
    pub(crate) async fn put(&self, license: &License, digit: char, seats: u32, confirmed: bool) -> ActivationId {
        let activation = self.activation();
        self.plan(activation, digit, take(license, seats)).await.expect("planned");
        self.carry_out(activation, confirmed).await;
        activation
    }

    /// Seats of a license that containers may hold, by container.
    pub(crate) async fn held(&self, license: &License) -> Vec<(char, u32)> {
        let mut held: std::collections::BTreeMap<char, u32> = std::collections::BTreeMap::new();
        for part in self.again(license).await.allocations.iter().filter(|part| part.state.may_be_in_container()) {
            *held.entry(part.container.chars().next().expect("an id")).or_default() += part.quantity;
        }
        held.into_iter().collect()
    }

    /// All events so far, oldest first.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let request = ListEventsRequest { after_sequence: 0, limit: 1_000 };
        lictor_broker::list_events(self.store.db(), &request).await.expect("the feed").events
    }

    /// The types of a subject's events, with their numbers.
    pub(crate) async fn story(&self, subject: &str) -> Vec<(u64, String)> {
        let events = self.events().await.into_iter().filter(|event| event.subject == subject);
        events
            .map(|event| {
                let what = match event.data.expect("data") {
                    Data::LicenseChanged(changed) => {
                        let now = changed.license.expect("a license").state();
                        format!(
                            "{:?} -> {now:?}",
                            lictor_api::types::v1::LicenseState::try_from(changed.previous).expect("a state")
                        )
                    }
                    Data::LicenseWithdrawn(withdrawn) => {
                        format!("withdrawn, pending {}", withdrawn.pending_in_container)
                    }
                    Data::LicenseCreated(_) => "created".to_owned(),
                    Data::TransferChanged(changed) => format!("transfer {}", changed.state),
                    other => lictor_broker::event_type(&other).to_owned(),
                };
                (event.aggregate_sequence, what)
            })
            .collect()
    }
}
