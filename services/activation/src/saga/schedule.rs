//! The scheduler: begins what the time brings. License-central tells what is due; each of it has one name, so that any
//! number of replicas, looking at any time, begin one saga. The resumer carries it out.

use std::{convert::Infallible, time::Duration};

use lictor_api::{
    central::v1::{DueRenewal, DueWork, due_work::Work},
    update::v1::Container as Found,
};
use lictor_licensing::id::{ActivationId, LicenseId, TransferId};
use tokio_util::sync::CancellationToken;

use super::{Runner, steps::odd};
use crate::{
    domain::{
        purpose::{Container, Departure, Pick, Purpose},
        saga::{Asked, SCHEDULER, Saga},
        schedule,
        state::Kind,
    },
    failure::Failure,
    ids,
};

/// How often is looked.
const LOOK_PAUSE: Duration = Duration::from_secs(15);
/// Due things of one look. What is begun is due no longer, so the next look shows the rest.
const BATCH: u32 = 200;
/// Sagas that may be unfinished before nothing new is begun: what is there comes first.
const CROWD: u64 = 2_000;

impl Runner {
    /// Begins what is due now and was not begun before; tells how many that were.
    ///
    /// # Errors
    /// When license-central or the store does not answer. One due thing that cannot be begun holds up no other.
    pub async fn begin_due(&self) -> Result<u64, Failure> {
        if self.store.unfinished().await?.0 > CROWD {
            return Ok(0);
        }
        let mut begun = 0;
        for due in self.peers.due_work(BATCH).await? {
            match self.begin_one(due).await {
                Ok(new) => begun += u64::from(new),
                Err(failure) => tracing::warn!(%failure, "something that is due cannot be begun now"),
            }
        }
        if begun > 0 {
            self.nudge();
        }
        Ok(begun)
    }

    async fn begin_one(&self, due: DueWork) -> Result<bool, Failure> {
        let Some(work) = due.work else {
            return Err(odd("due work without a kind"));
        };
        // What was begun before costs one look at our own table, and no question.
        let name = match &work {
            Work::Renewal(due) => schedule::renewal(&due.key),
            Work::Loan(due) => schedule::loan(transfer_id(&due.transfer_id)?),
            Work::Arrival(due) => schedule::arrival(transfer_id(&due.transfer_id)?),
        };
        let Some(name) = self.free_name(name).await? else {
            return Ok(false);
        };
        let saga = match work {
            Work::Renewal(due) => self.renewal(due, &name)?,
            Work::Loan(due) => self.loan_over(transfer_id(&due.transfer_id)?, &name).await?,
            Work::Arrival(due) => self.arrival(transfer_id(&due.transfer_id)?, &name).await?,
        };
        let begun = self.store.begin_for_resumer(&saga, self.clock.now()).await?;
        if begun {
            tracing::info!(activation = %saga.id, kind = %saga.kind(), name, "begun because it is due");
        }
        Ok(begun)
    }

    /// The name under which it can be begun: its own, or one of today when what went before was refused or did not help.
    /// Nothing while there is one that goes on.
    async fn free_name(&self, name: String) -> Result<Option<String>, Failure> {
        let Some(before) = self.store.newest_attempt(SCHEDULER, &name).await? else {
            return Ok(Some(name));
        };
        // Done, and due all the same: its container was replaced before it could prove anything, as an example.
        if !before.state.is_settled() {
            return Ok(None);
        }
        Ok(schedule::again(&name, before.created_at, self.clock.now()))
    }

    fn fresh(&self, purpose: Purpose, name: &str, traceparent: Option<String>) -> Saga {
        let now = self.clock.now();
        Saga::new(ActivationId::new(now, ids::random()), purpose, Asked::by_time(name, traceparent), now)
    }

    fn renewal(&self, due: DueRenewal, name: &str) -> Result<Saga, Failure> {
        let licenses = due.license_ids.iter().map(|id| id.parse::<LicenseId>());
        let licenses = licenses.collect::<Result<_, _>>().map_err(|_| odd("a license id that is none"))?;
        let container = Container { id: due.container_id, serial: due.serial, kind: None, virtual_machine: false };
        let trace = lictor_telemetry::current_traceparent();
        Ok(self.fresh(Purpose::Renew { licenses }, name, trace).of(due.firm_code, Some(container)))
    }

    /// Seats of a loan whose end has passed go back to the lender: they leave the borrower.
    async fn loan_over(&self, loan: TransferId, name: &str) -> Result<Saga, Failure> {
        let found = self.peers.transfer(loan).await?;
        let transfer = found.transfer.clone().unwrap_or_default();
        let license = transfer.license_id.parse().map_err(|_| odd("a license id that is none"))?;
        let departure = Departure {
            transfer: TransferId::new(self.clock.now(), ids::random()),
            ticket: None,
            pick: Pick { license, quantity: transfer.quantity },
            target: self.known(transfer.firm_code, found.from_container_id).await?,
            lend_until: None,
            returns: Some(loan),
        };
        // The generator need not know the borrower any more: the seats go home all the same.
        let (id, serial) = (found.to_container_id, transfer.to_serial);
        let borrower = Container { id, serial, kind: None, virtual_machine: false };
        let trace = self.trace_of(loan).await?;
        let saga = self.fresh(Purpose::Depart(Box::new(departure)), name, trace);
        Ok(saga.of(transfer.firm_code, Some(borrower)))
    }

    async fn arrival(&self, transfer: TransferId, name: &str) -> Result<Saga, Failure> {
        let found = self.peers.transfer(transfer).await?;
        let firm = found.transfer.map(|transfer| transfer.firm_code).unwrap_or_default();
        let target = self.known(firm, found.to_container_id).await?;
        let trace = self.trace_of(transfer).await?;
        Ok(self.fresh(Purpose::Arrive { transfer }, name, trace).of(firm, Some(target)))
    }

    /// A container that the generator knows.
    async fn known(&self, firm: u32, id: String) -> Result<Container, Failure> {
        Ok(container(self.peers.container(firm, id).await?))
    }

    /// The saga that carries the seats of a transfer into the container that it goes to now: the one that is under way, or
    /// one that begins with it.
    ///
    /// # Errors
    /// When license-central, the generator or the store does not answer, or knows no such transfer.
    pub async fn arrival_of(&self, transfer: TransferId, target: &Container) -> Result<ActivationId, Failure> {
        let legs = self.store.of_transfer(transfer).await?;
        let under_way = legs.iter().rev().find(|leg| leg.kind() == Kind::Arrive && !leg.state.is_over());
        if let Some(leg) = under_way {
            return Ok(leg.id);
        }
        let name = format!("{}@{}", schedule::arrival(transfer), target.id);
        let saga = self.arrival(transfer, &name).await?;
        if self.store.begin_for_resumer(&saga, self.clock.now()).await? {
            return Ok(saga.id);
        }
        let before = self.store.by_request(SCHEDULER, &name).await?;
        before.map(|before| before.id).ok_or_else(|| odd("an arrival that is neither there nor new"))
    }

    /// Both legs of a transfer are one trace.
    async fn trace_of(&self, transfer: TransferId) -> Result<Option<String>, Failure> {
        let legs = self.store.of_transfer(transfer).await?;
        Ok(legs.into_iter().find_map(|leg| leg.traceparent).or_else(lictor_telemetry::current_traceparent))
    }
}

/// A container as the generator shows it.
pub(super) fn container(found: Found) -> Container {
    let kind = found.kind().known();
    Container { id: found.container_id, serial: found.serial, kind, virtual_machine: found.virtual_machine }
}

fn transfer_id(text: &str) -> Result<TransferId, Failure> {
    text.parse().map_err(|_| odd("a transfer id that is none"))
}

/// Looks at once and from time to time, until `stop`.
///
/// # Errors
/// None; the result is there so that it can be spawned like other background tasks.
pub async fn keep_scheduling(runner: Runner, stop: CancellationToken) -> Result<(), Infallible> {
    loop {
        match runner.begin_due().await {
            Ok(0) => {}
            // A whole batch is seldom all.
            Ok(begun) if begun >= u64::from(BATCH) && !stop.is_cancelled() => continue,
            Ok(_) => {}
            Err(failure) => {
                let problem = failure.problem();
                tracing::warn!(%problem, "what is due cannot be looked up");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_PAUSE) => {}
        }
    }
}
