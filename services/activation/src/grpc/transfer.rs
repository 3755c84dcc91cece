//! Seats from one container to another of the same customer: for good, lent until a date, or back from a loan.
//!
//! A transfer is two sagas. This one takes the seats out; the second begins when the old container proved that they are
//! gone, in the transaction that notes the proof.

use std::net::IpAddr;

use lictor_api::{
    activation::v1::{Transfer, TransferLicenseRequest, TransferLicenseResponse},
    central::v1::TransferState,
    convert::from_timestamp,
};
use lictor_clock::Timestamp;
use lictor_licensing::{
    TicketCode,
    error::ErrorCode,
    id::{LicenseId, TicketId, TransferId},
};
use tonic::Status;

use super::{
    Counter,
    activation::shown_container,
    asked, edge, is_fresh, is_sound, status,
    ticket::{holder, ticket_id},
};
use crate::{
    domain::{
        purpose::{Container, Departure, Pick, Purpose},
        saga::{Asked, Saga},
        state::Kind,
    },
    failure::Failure,
    ids,
    saga::{Settled, refusal},
};

/// A container as a request names it.
enum Named {
    Context(Vec<u8>),
    Serial(String),
    /// The lender of the loan that is given back.
    Lender,
}

/// A request for a transfer.
struct Wish {
    request_id: String,
    license: Option<LicenseId>,
    quantity: u32,
    target: Named,
    lend_until: Option<Timestamp>,
    returns: Option<TransferId>,
}

/// Who asks, and for which container.
struct Source {
    asked: Asked,
    firm: u32,
    ticket: Option<TicketId>,
    masked: String,
    container: Container,
}

impl Wish {
    fn read(request: &TransferLicenseRequest) -> Result<Self, Status> {
        let given = |text: &str| !text.is_empty();
        let returns =
            given(&request.returns_transfer_id).then(|| edge::id(&request.returns_transfer_id)).transpose()?;
        let target = if !request.target_context.is_empty() {
            Named::Context(edge::file(request.target_context.clone())?)
        } else if given(&request.to_serial) {
            Named::Serial(edge::serial(&request.to_serial)?)
        } else if returns.is_some() {
            Named::Lender
        } else {
            return Err(edge::invalid("a transfer needs its new container", "give its context, or its serial"));
        };
        let license = given(&request.license_id).then(|| edge::id(&request.license_id)).transpose()?;
        if license.is_none() && returns.is_none() {
            return Err(edge::invalid("a transfer names its license", "name one"));
        }
        Ok(Self {
            request_id: edge::request_id(&request.request_id)?,
            license,
            quantity: request.quantity,
            target,
            lend_until: edge::time(request.lend_until.as_ref().map(from_timestamp))?,
            returns,
        })
    }

    /// What a repeat has to equal; contexts count by their container.
    fn body_hash(&self, who: &[u8], from: &str, to: &str) -> [u8; 32] {
        let text = |id: Option<String>| id.unwrap_or_default();
        edge::hash(&[
            b"transfer",
            who,
            text(self.license.map(|id| id.to_string())).as_bytes(),
            &self.quantity.to_be_bytes(),
            from.as_bytes(),
            to.as_bytes(),
            &self.lend_until.map_or(0, Timestamp::as_micros).to_be_bytes(),
            text(self.returns.map(|id| id.to_string())).as_bytes(),
        ])
    }
}

impl Counter {
    /// Asked for by the customer: with the ticket, and a fresh context of the container that gives.
    pub(super) async fn transferred(
        &self,
        address: IpAddr,
        request: TransferLicenseRequest,
    ) -> Result<TransferLicenseResponse, Status> {
        let wish = Wish::read(&request)?;
        let code = edge::ticket(&request.ticket)?;
        let context = edge::file(request.context)?;
        let settled = self.transfer_by_ticket(address, wish, &code, context).await.map_err(status)?;
        self.transfer_answer(settled).await.map_err(status)
    }

    /// Asked for by the vendor's staff: from the modified context.
    pub(super) async fn transferred_by_staff(
        &self,
        caller: String,
        request: TransferLicenseRequest,
    ) -> Result<TransferLicenseResponse, Status> {
        let wish = Wish::read(&request)?;
        let firm = edge::firm(request.firm_code)?;
        let serial = edge::serial(&request.from_serial)?;
        let settled = self.transfer_by_staff(wish, caller, firm, serial).await.map_err(status)?;
        self.transfer_answer(settled).await.map_err(status)
    }

    async fn transfer_by_ticket(
        &self,
        address: IpAddr,
        wish: Wish,
        code: &TicketCode,
        context: Vec<u8>,
    ) -> Result<Settled, Failure> {
        let peers = self.0.runner.peers();
        let shown = peers.inspect_context(context.clone()).await?;
        let ticket = self.resolve(address, code, Some(shown.firm_code)).await?;
        let to = self.target_name(&wish.target, shown.firm_code).await?;
        let body_hash = wish.body_hash(&code.hash(), &shown.container_id, &to);
        let asked = asked(holder(code), wish.request_id.clone(), body_hash);
        if let Some(before) = self.before(&asked).await? {
            return self.0.carry_on(before).await;
        }
        let taken = peers.take_context(context).await?;
        is_fresh(taken.fresh, &taken.serial)?;
        is_sound(&taken)?;
        let container = shown_container(&shown)?;
        let (firm, ticket) = (shown.firm_code, Some(ticket_id(&ticket)?));
        self.depart(wish, Source { asked, firm, ticket, masked: code.masked(), container }).await
    }

    async fn transfer_by_staff(
        &self,
        wish: Wish,
        caller: String,
        firm: u32,
        serial: String,
    ) -> Result<Settled, Failure> {
        let container = self.known(firm, serial, false).await?;
        let to = self.target_name(&wish.target, firm).await?;
        let body_hash = wish.body_hash(&firm.to_be_bytes(), &container.id, &to);
        let asked = asked(caller, wish.request_id.clone(), body_hash);
        if let Some(before) = self.before(&asked).await? {
            return self.0.carry_on(before).await;
        }
        self.depart(wish, Source { asked, firm, ticket: None, masked: String::new(), container }).await
    }

    async fn depart(&self, wish: Wish, source: Source) -> Result<Settled, Failure> {
        let Source { asked, firm, ticket, masked, container } = source;
        let loan = match wish.returns {
            Some(loan) => Some(self.0.runner.peers().transfer(loan).await?),
            None => None,
        };
        let lent = loan.as_ref().and_then(|loan| loan.transfer.as_ref());
        if lent.is_some_and(|lent| lent.firm_code != firm) {
            return Err(unknown_transfer());
        }
        let license = match (wish.license, lent) {
            (Some(license), _) => license,
            (None, Some(lent)) => lent.license_id.parse().map_err(|_| unknown_transfer())?,
            (None, None) => return Err(unknown_transfer()),
        };
        let target = match wish.target {
            Named::Context(context) => {
                let shown = self.0.runner.peers().inspect_context(context.clone()).await?;
                is_sound(&self.0.runner.peers().take_context(context).await?)?;
                shown_container(&shown)?
            }
            Named::Serial(serial) => self.known(firm, serial, true).await?,
            Named::Lender => {
                let lender = loan.as_ref().map(|loan| loan.from_container_id.clone()).unwrap_or_default();
                self.known(firm, lender, true).await?
            }
        };
        if target.id == container.id {
            return Err(Failure::refused(
                ErrorCode::InvalidArgument,
                "both containers of the transfer are the same",
                "name another one for the seats to go to",
            ));
        }
        let departure = Departure {
            transfer: TransferId::new(self.0.now(), ids::random()),
            ticket,
            pick: Pick { license, quantity: wish.quantity },
            target,
            lend_until: wish.lend_until,
            returns: wish.returns,
        };
        let saga = self.fresh(Purpose::Depart(Box::new(departure)), asked).of(firm, Some(container));
        self.0.carry_out(Saga { ticket_masked: masked, ..saga }, None).await
    }

    /// What names the target in a repeat: the id of a container, the serial as typed, or nothing for the lender.
    async fn target_name(&self, target: &Named, firm: u32) -> Result<String, Failure> {
        match target {
            Named::Context(context) => {
                let shown = self.0.runner.peers().inspect_context(context.clone()).await?;
                if shown.firm_code != firm {
                    return Err(Failure::refused(
                        ErrorCode::FileForOther,
                        "the context of the new container is for another vendor",
                        "make one for the vendor of the license",
                    ));
                }
                Ok(shown.container_id)
            }
            Named::Serial(serial) => Ok(serial.clone()),
            Named::Lender => Ok(String::new()),
        }
    }

    async fn transfer_answer(&self, settled: Settled) -> Result<TransferLicenseResponse, Failure> {
        let issued = self.0.runner.update_of(&settled.saga, settled.issued).await?;
        let Some(transfer) = settled.saga.purpose.transfer() else {
            return Err(refusal(&settled.saga).into());
        };
        Ok(TransferLicenseResponse { transfer: Some(self.transfer(transfer).await?), update: issued.update })
    }

    /// A transfer with its two sagas.
    pub(super) async fn transfer(&self, id: TransferId) -> Result<Transfer, Failure> {
        let found = self.0.runner.peers().transfer(id).await?.transfer.ok_or_else(unknown_transfer)?;
        let legs = self.0.runner.store().of_transfer(id).await?;
        let newest = |kind: Kind| {
            legs.iter().rev().find(|leg| leg.kind() == kind).map(|leg| leg.id.to_string()).unwrap_or_default()
        };
        let state = match found.state() {
            TransferState::Departing => "departing",
            TransferState::Departed => "departed",
            TransferState::Arriving => "arriving",
            TransferState::Arrived => "arrived",
            TransferState::CalledOff => "called-off",
            TransferState::Unspecified => "unknown",
        };
        Ok(Transfer {
            transfer_id: found.transfer_id,
            firm_code: found.firm_code,
            license_id: found.license_id,
            quantity: found.quantity,
            from_serial: found.from_serial,
            to_serial: found.to_serial,
            state: state.to_owned(),
            lend_until: found.lend_until,
            depart_activation_id: newest(Kind::Depart),
            arrive_activation_id: newest(Kind::Arrive),
        })
    }
}

fn unknown_transfer() -> Failure {
    Failure::refused(ErrorCode::NotFound, "there is no such transfer", "check the transfer id")
}
