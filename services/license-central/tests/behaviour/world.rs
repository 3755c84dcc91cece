//! A store with a small catalogue, and short ways to do things with it.

use lictor_api::event::v1::{Event, ListEventsRequest, event::Data};
use lictor_clock::{Clock as _, ManualClock, Timestamp};
use lictor_license_central::{
    domain::{
        catalogue::{Catalogue, EncodedItem},
        license::{License, LicenseState},
        order::{CustomerName, NewOrder, OrderLine, Reference},
        page::Page,
        ticket_key::TicketKey,
    },
    events::Moment,
    failure::Failure,
    ids::{self, OrderIds},
    store::{LicenseFilter, MIGRATIONS, MadeOrder, OrderRow, ReserveRequest, Reserved, Store},
};
use lictor_licensing::{ContainerKind, FirmCode, error::ErrorCode, id::ActivationId};
use lictor_storage::{Database, command::Command, testing::for_each_engine};

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
        let parsed = lines.iter().map(|(item, quantity)| OrderLine::new(item, *quantity));
        let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
        let order = NewOrder::new(firm(), CustomerName::new("Example Ltd")?, Reference::default(), parsed)?;
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

    pub(crate) fn wish(&self, license: &License, activation: ActivationId) -> ReserveRequest {
        ReserveRequest {
            activation,
            ticket: license.ticket,
            licenses: vec![license.id],
            container: container('a'),
            serial: "130-0000000001".to_owned(),
            kind: ContainerKind::Machine,
        }
    }

    pub(crate) async fn reserve(&self, license: &License, activation: ActivationId) -> Result<Reserved, Failure> {
        self.store.reserve(&self.wish(license, activation), self.clock.now()).await
    }

    /// Carries a license into a container, up to proof if `confirmed`.
    pub(crate) async fn put_in(&self, license: &License, confirmed: bool) -> ActivationId {
        let activation = self.activation();
        self.reserve(license, activation).await.expect("reserved");
        self.store.keep(activation, self.clock.now()).await.expect("kept");
        self.store.commit(activation, 1, &self.moment()).await.expect("committed");
        if confirmed {
            self.store.confirm(activation, &self.moment()).await.expect("confirmed");
        }
        activation
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
                    other => lictor_broker::event_type(&other).to_owned(),
                };
                (event.aggregate_sequence, what)
            })
            .collect()
    }
}
