//! Blocks of seats at the writer: what is lent, and what is borrowed. Each step is durable before the next.

use std::time::Duration;

use lictor_license_file::product_item;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::ProductCode;
use lictor_licensing::refusal::Refusal;
use lictor_signing::{BlockCertificate, Envelope, PublicKey};

use super::{Writer, broken, no_space};
use crate::domain::ask::Moment;
use crate::domain::blocks::{Answered, BlockId, Borrowed, Borrowing, LendError, MAX_BLOCKS, Question, Wish, lent_for};
use crate::domain::record::Record;
use crate::domain::session::Session;
use crate::store::StoreError;

/// By how much the dates of a certificate for a block are wider than its time: clocks of two machines differ. What ends a
/// block in time are the clocks since boot of both servers.
const CLOCKS_DIFFER: Duration = Duration::from_secs(24 * 60 * 60);

/// What a lender answers.
#[derive(Debug)]
pub enum Lending {
    /// The block; none when it has no seats.
    Lent(Option<Box<LentSeats>>),
    /// No seat, and why.
    Refused(Refusal),
}

/// Seats that are lent, with all that the borrower needs.
#[derive(Debug)]
pub struct LentSeats {
    /// The session that is the block.
    pub session: Session,
    /// What is lent, as an encoded product item.
    pub item: Vec<u8>,
    /// Root documents of the firm, oldest first.
    pub roots: Vec<Vec<u8>>,
    /// The certificate of this server's lease key.
    pub lease_certificate: Vec<u8>,
    /// The certificate of the borrower's key, in its envelope.
    pub delegation: Vec<u8>,
    /// Whether few seats are left.
    pub scarce: bool,
}

/// A question that may leave.
#[derive(Clone, Debug)]
pub struct Next {
    /// The lender, as the search list names it.
    pub server: String,
    /// The question.
    pub question: Question,
}

impl Writer {
    /// Decides a borrower's question.
    ///
    /// # Errors
    /// When it cannot be dealt with, or not made durable.
    pub fn lend(&mut self, borrowing: &Borrowing, moment: Moment) -> Result<Lending, Problem> {
        self.expire(moment);
        self.keeper.advance(borrowing.ask.firm_code, borrowing.ask.product_code, moment);
        let firm = self.keeper.state.firms.get(&borrowing.ask.firm_code);
        let certified = firm.and_then(|firm| Some((firm.roots.clone(), firm.vendor.lease_certificate.clone()?)));
        let Some((roots, lease_certificate)) = certified else {
            return Ok(Lending::Refused(Refusal::not_found(borrowing.ask.product_code)));
        };
        let (lent, undo) = match self.keeper.lend(borrowing, Self::fresh_id(moment)?, moment) {
            Ok(decided) => decided,
            Err(LendError::Refused(refusal)) => return Ok(Lending::Refused(refusal)),
            Err(error) => return Err(lend_problem(&error)),
        };
        if let Some(record) = &lent.record {
            match self.append([record.to_bytes()]) {
                Ok(()) => {}
                Err(StoreError::Full(_)) => {
                    self.keeper.undo_lent(&lent, undo, moment);
                    return Err(no_space());
                }
                Err(_) => return Err(broken()),
            }
        }
        let Some(session) = lent.session else { return Ok(Lending::Lent(None)) };
        let item = self.keeper.lent_item(&session).and_then(|item| product_item::encode(&item).ok());
        let item = item.ok_or_else(|| {
            Problem::new(ErrorCode::Internal, "the license cannot be written for another server", "look into the log")
        })?;
        let delegation = self.delegate(&session, &borrowing.ask.client_key, moment)?;
        let scarce = self.keeper.is_scarce(&session);
        let session = *session;
        let lent = LentSeats { session, item, roots, lease_certificate, delegation, scarce };
        Ok(Lending::Lent(Some(Box::new(lent))))
    }

    /// Lets the borrower's key grant the seats of its block.
    fn delegate(&self, session: &Session, key: &PublicKey, moment: Moment) -> Result<Vec<u8>, Problem> {
        let time = self.keeper.times().block_time;
        let certificate = BlockCertificate {
            firm_code: session.firm_code.get(),
            product_code: session.product_code.get(),
            feature_map: session.feature_map.bits(),
            container_id: self.secrets.container_id().0,
            key: *key,
            seats: session.seats.get(),
            max_grant_seconds: u32::try_from(time.as_secs().max(1)).unwrap_or(u32::MAX),
            not_before: session.since.saturating_sub(CLOCKS_DIFFER),
            not_after: self.keeper.state.effective(moment).saturating_add(lent_for(time) + CLOCKS_DIFFER),
        };
        let envelope = Envelope::seal(&certificate, &[&self.secrets.lease]);
        envelope.map(|envelope| envelope.to_bytes()).map_err(|_| super::signing::not_signed())
    }

    /// The question about the block for a wish at a server, when one is due: the open one again, or the next. Makes the block
    /// when there is none and somebody waits.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn ask_for_block(
        &mut self,
        server: &str,
        wish: &Wish,
        waiting: u32,
        moment: Moment,
    ) -> Result<Option<Next>, Problem> {
        self.expire(moment);
        let block = match self.keeper.block_at(server, wish) {
            Some(block) => block,
            None if waiting == 0 => return Ok(None),
            None => {
                if self.keeper.state.blocks.len() >= MAX_BLOCKS {
                    return Err(Problem::new(
                        ErrorCode::LimitExceeded,
                        format!("this licence server borrows at most {MAX_BLOCKS} blocks of seats"),
                        "name the network server in CODEMETER_HOST of the program",
                    ));
                }
                let mut id = BlockId::default();
                getrandom::fill(&mut id).map_err(|_| {
                    Problem::new(ErrorCode::Internal, "the licence server has no random bytes", "look into its log")
                })?;
                let fresh = Borrowed::new(id, server.to_owned(), wish.clone());
                self.keeper.state.blocks.insert(id, fresh);
                id
            }
        };
        self.ask_about(&block, waiting, moment)
    }

    /// The same for a block that is there.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn ask_about(&mut self, block: &BlockId, waiting: u32, moment: Moment) -> Result<Option<Next>, Problem> {
        let Some((question, record)) = self.keeper.question(block, waiting, moment) else { return Ok(None) };
        if let Some(record) = record {
            self.keep(&record)?;
        }
        self.keeper.asking(&question, moment);
        let server = self.keeper.state.blocks.get(block).map(|block| block.server.clone()).unwrap_or_default();
        Ok(Some(Next { server, question }))
    }

    /// Takes a lender's answer.
    ///
    /// # Errors
    /// When it cannot be made durable; it may come again.
    pub fn take_block(&mut self, block: &BlockId, answer: &Answered, moment: Moment) -> Result<(), Problem> {
        match self.keeper.answer_record(block, answer) {
            None => Ok(()),
            Some(Record::BlockDropped { .. }) => self.drop_block(block, moment),
            Some(record) => {
                if let Record::BlockHeld { terms, .. } = &record {
                    readable(&terms.item, self.keeper.state.blocks.get(block))?;
                }
                self.keep(&record)?;
                self.keeper.answered(block, answer, moment);
                self.commit(moment);
                Ok(())
            }
        }
    }

    /// Gives a block up that its lender does not know any more.
    ///
    /// # Errors
    /// When it cannot be made durable; its sessions are over all the same.
    pub fn drop_block(&mut self, block: &BlockId, moment: Moment) -> Result<(), Problem> {
        let records: Vec<Vec<u8>> = self.keeper.drop_block(block, moment).iter().map(Record::to_bytes).collect();
        // Forgotten, it costs time: after a restart its lender says again that it is over.
        self.lazy.extend(records);
        self.commit(moment);
        Ok(())
    }

    /// Writes a record, then follows it.
    fn keep(&mut self, record: &Record) -> Result<(), Problem> {
        match self.append([record.to_bytes()]) {
            Ok(()) => {}
            Err(StoreError::Full(_)) => return Err(no_space()),
            Err(_) => return Err(broken()),
        }
        self.keeper.state.change(record).map_err(|error| {
            tracing::error!(error, "a block of seats cannot be taken over");
            Problem::new(ErrorCode::Internal, "a block of seats cannot be taken over", "look into the log")
        })
    }
}

/// Whether what a lender says can be used: nothing unreadable gets into the journal.
fn readable(item: &[u8], block: Option<&Borrowed>) -> Result<(), Problem> {
    let wanted = block.map(|block| block.wish.product_code);
    let entry = lictor_license_file::state::Entry { item: item.to_vec(), quantity: 1, ..Default::default() };
    let product: Option<ProductCode> = entry.product_item().ok().and_then(|item| {
        lictor_licensing::effective::EffectiveEntry::all_of(&item).first().map(|entry| entry.product_code())
    });
    if product.is_some() && product == wanted {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::FileForged,
        "what the network server lends is not what was asked for",
        "check which server the search list names, and that both have the same version",
    ))
}

/// The sentence about a seat whose lender has not confirmed it.
pub(super) fn unconfirmed() -> Problem {
    Problem::new(
        ErrorCode::Unavailable,
        "the network server that lends this seat has not confirmed it yet",
        "ask again in a moment; the seat stays this program's until its time is over",
    )
}

fn lend_problem(error: &LendError) -> Problem {
    match error {
        LendError::Ended => Problem::new(
            ErrorCode::WrongState,
            "this block of seats is over",
            "ask for another one under a fresh block id",
        ),
        LendError::Overtaken => Problem::new(
            ErrorCode::WrongState,
            "a later question about this block was answered already",
            "give the block up, and ask for another one under a fresh block id",
        ),
        LendError::Reused | LendError::Refused(_) => Problem::new(
            ErrorCode::RequestIdReused,
            "this block id came before with another wish",
            "make a fresh block id for each block",
        ),
    }
}
