//! Signed time: nonces that this server asks with, and the statements that answer them.

use std::collections::VecDeque;
use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_license_file::FileError;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::FirmCode;
use lictor_signing::{Envelope, TimeStatement};

use super::Writer;
use super::admin::{internal, unknown_firm};
use crate::domain::ask::Moment;
use crate::domain::record::Record;
use crate::domain::time::ProvenTime;

/// Nonces that wait for their statement.
const MAX_NONCES: usize = 16;
/// How long a statement may be on its way. For so long the signed time may lag behind the true one.
const NONCE_TIME: Duration = Duration::from_secs(3_600);
/// Largest envelope of a statement.
const MAX_STATEMENT_BYTES: usize = 4 * 1024;

/// The nonces that were asked with. They do not outlive the process: a restored or copied state folder must not take a
/// statement that was made for another life of it.
#[derive(Debug, Default)]
pub(super) struct Nonces(VecDeque<(FirmCode, [u8; 32], Duration)>);

impl Nonces {
    fn add(&mut self, firm: FirmCode, nonce: [u8; 32], boottime: Duration) {
        if self.0.len() >= MAX_NONCES {
            self.0.pop_front();
        }
        self.0.push_back((firm, nonce, boottime));
    }

    /// Takes a nonce out, when it is there and not too old.
    fn spend(&mut self, firm: FirmCode, nonce: &[u8], boottime: Duration) -> bool {
        let place = self.0.iter().position(|(asked, known, _)| *asked == firm && known == nonce);
        let Some((_, _, since)) = place.and_then(|place| self.0.remove(place)) else { return false };
        boottime.saturating_sub(since) <= NONCE_TIME
    }
}

/// What a signed time has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeImported {
    /// The proven time.
    pub proven: Timestamp,
    /// Whether the clock was suspect before.
    pub was_suspect: bool,
    /// Whether it is now.
    pub is_suspect: bool,
}

impl Writer {
    /// A nonce to ask a vendor for the time with.
    ///
    /// # Errors
    /// When the firm is not in the container, or there are no random bytes.
    pub fn create_time_nonce(&mut self, firm: FirmCode, moment: Moment) -> Result<[u8; 32], Problem> {
        if !self.keeper.state.firms.contains_key(&firm) {
            return Err(unknown_firm(firm));
        }
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|_| internal("the licence server has no random bytes"))?;
        self.nonces.add(firm, nonce, moment.boottime);
        Ok(nonce)
    }

    /// Takes a signed time over.
    ///
    /// # Errors
    /// When the statement is not the vendor's, answers no nonce that waits, says an earlier time than one that was signed
    /// before, or cannot be made durable. Nothing is changed then; but a nonce that was answered is spent.
    pub fn import_time(&mut self, firm: FirmCode, statement: &[u8], moment: Moment) -> Result<TimeImported, Problem> {
        if statement.len() > MAX_STATEMENT_BYTES {
            let error = FileError::TooLarge { what: "the statement of the time", limit: MAX_STATEMENT_BYTES };
            return Err(error.problem());
        }
        let known = self.keeper.state.firms.get(&firm).ok_or_else(|| unknown_firm(firm))?;
        let envelope = Envelope::from_bytes(statement).map_err(|error| FileError::from(error).problem())?;
        let statement: TimeStatement =
            known.trusted.open(&envelope).map_err(|error| FileError::from(error).problem())?;
        if !self.nonces.spend(firm, statement.nonce(), moment.boottime) {
            return Err(Problem::new(
                ErrorCode::WrongState,
                "the statement of the time answers no question of this server that is open",
                "create a new time nonce and have it signed within an hour",
            ));
        }
        let at = statement.time();
        let time = &self.keeper.state.time;
        if at < time.signed() {
            return Err(Problem::new(
                ErrorCode::WrongState,
                format!("the statement says {at}, but {} was signed before", time.signed()),
                "tell the vendor that the clock behind its time role is wrong",
            ));
        }
        let was_suspect = time.is_suspect(moment);
        self.write(vec![Record::TimeStated { at, ahead_by: ProvenTime::found_ahead(at, moment) }])?;
        self.keeper.state.time.run(moment.boottime);
        let firms: Vec<_> = self.keeper.state.firms.keys().copied().collect();
        firms.into_iter().for_each(|firm| self.keeper.refresh_ends(firm, moment));
        let is_suspect = self.keeper.state.time.is_suspect(moment);
        tracing::info!(firm = firm.get(), %at, was_suspect, is_suspect, "the time was signed");
        Ok(TimeImported { proven: at, was_suspect, is_suspect })
    }
}
