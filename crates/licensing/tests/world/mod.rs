//! A licence server without I/O: items in containers, asked one request after the other.
#![expect(dead_code, reason = "each test file uses its own part")]

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::access::{AccessId, ClientInstance};
use lictor_licensing::{
    AccessMode, Candidate, Choice, EffectiveEntry, EntryState, FirmCode, ItemSeats, Location, ProductCode, ProductItem,
    Reason, Refusal, Request, Situation, Station, decide, grant,
};

pub(crate) const FIRM: u32 = 6_000_010;

/// How many times the small number of random cases a run makes: `LICTOR_TEST_SCALE`, 1 by default.
pub(crate) fn scale() -> u32 {
    std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().expect("a valid time")
}

pub(crate) fn item(yaml: &str) -> ProductItem {
    serde_norway::from_str(yaml).expect("a valid product item")
}

pub(crate) fn item_error(yaml: &str) -> String {
    serde_norway::from_str::<ProductItem>(yaml).expect_err("the item must be refused").to_string()
}

/// One item in one container.
pub(crate) struct Stored {
    pub(crate) serial: String,
    pub(crate) location: Location,
    pub(crate) container_disabled: bool,
    pub(crate) firm_disabled: bool,
    pub(crate) veto: Option<Reason>,
    pub(crate) entries: Vec<EffectiveEntry>,
    pub(crate) state: EntryState,
    pub(crate) seats: ItemSeats,
}

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) version: semver::Version,
    pub(crate) stored: Vec<Stored>,
    next_access: u128,
}

impl World {
    pub(crate) fn new(now: &str) -> Self {
        Self { now: time(now), version: semver::Version::new(1, 0, 0), stored: Vec::new(), next_access: 1 }
    }

    pub(crate) fn with(mut self, serial: &str, yaml: &str) -> Self {
        self.add(serial, Location::Local, &item(yaml));
        self
    }

    pub(crate) fn add(&mut self, serial: &str, location: Location, item: &ProductItem) -> &mut Stored {
        let entries = EffectiveEntry::all_of(item);
        self.stored.push(Stored {
            serial: serial.to_owned(),
            location,
            container_disabled: false,
            firm_disabled: false,
            veto: None,
            seats: ItemSeats::new(&entries),
            entries,
            state: EntryState::default(),
        });
        self.stored.last_mut().expect("just added")
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
    }

    /// A fresh request of one program on one station.
    pub(crate) fn request(&mut self, product: u32, client: u128, station: &str) -> Request {
        self.next_access += 1;
        Request::new(
            FirmCode::new(FIRM).expect("not zero"),
            ProductCode(product),
            AccessId(self.next_access),
            ClientInstance(client),
            Station::new(station).expect("a valid name"),
        )
    }

    /// Decides and, when somebody can serve, takes it. Returns the serial and the choice.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<(String, Choice), Refusal> {
        self.stored.iter_mut().for_each(|stored| stored.seats.advance(self.now));
        let mut homes = Vec::new();
        let mut candidates = Vec::new();
        for (home, stored) in self.stored.iter().enumerate() {
            for (place, entry) in stored.entries.iter().enumerate() {
                homes.push((home, place));
                candidates.push(Candidate {
                    serial: &stored.serial,
                    location: stored.location,
                    container_disabled: stored.container_disabled,
                    firm_disabled: stored.firm_disabled,
                    veto: stored.veto.as_ref(),
                    held_back: None,
                    entry,
                    state: &stored.state,
                    seats: &stored.seats,
                });
            }
        }
        let situation = Situation { now: self.now, server_version: &self.version };
        let choice = decide(request, &candidates, &situation)?;
        let (home, place) = homes[choice.candidate];
        let stored = &mut self.stored[home];
        let granted = grant(request, &stored.entries[place], &mut stored.state, &mut stored.seats, self.now);
        assert_eq!(granted, Ok(choice.granted), "what was decided must be what is taken");
        Ok((stored.serial.clone(), choice))
    }

    pub(crate) fn take(
        &mut self,
        product: u32,
        client: u128,
        station: &str,
        mode: AccessMode,
    ) -> Result<AccessId, u16> {
        let request = Request { mode, ..self.request(product, client, station) };
        self.ask(&request).map(|_| request.access).map_err(|refusal| refusal.code())
    }

    pub(crate) fn release(&mut self, access: AccessId) -> bool {
        let now = self.now;
        self.stored.iter_mut().any(|stored| stored.seats.release(access, now))
    }
}
