//! Grants are signed when they are durable: all those of one commit by one signature.

use lictor_licensing::error::{ErrorCode, Problem};
use lictor_signing::{GrantStatement, MAX_BATCH, cbor, sign_batch};

use super::handle::Answered;
use super::{Batch, Writer};
use crate::domain::ask::{Answer, Given, Signed};

impl Batch {
    /// All answers, of those who asked and of those who waited.
    pub(super) fn all_answers(&mut self) -> impl Iterator<Item = &mut Answered> {
        let served = self.served.iter_mut().map(|turned| &mut turned.answer);
        self.answers.iter_mut().map(|(answer, _)| answer).chain(served)
    }
}

impl Writer {
    /// Signs every grant among the answers.
    pub(super) fn sign<'a>(&self, answers: impl Iterator<Item = &'a mut Answered>) {
        let mut granted: Vec<&mut Answered> =
            answers.filter(|answer| matches!(answer, Ok(Answer::Granted(_)))).collect();
        for batch in granted.chunks_mut(MAX_BATCH) {
            let statements: Vec<Vec<u8>> = batch.iter().filter_map(|answer| self.statement(answer)).collect();
            match sign_batch::<GrantStatement>(&statements, &self.secrets.lease) {
                Ok(proofs) => {
                    for ((answer, statement), proof) in batch.iter_mut().zip(statements).zip(proofs) {
                        if let Ok(Answer::Granted(given)) = &mut **answer {
                            given.signed = Signed { statement, proof: cbor::encode(&proof) };
                        }
                    }
                    self.metrics.signed();
                }
                // Its seat frees when nobody holds it: a client that cannot believe its grant does not.
                Err(_) => batch.iter_mut().for_each(|answer| **answer = Err(not_signed())),
            }
        }
    }

    fn statement(&self, answer: &Answered) -> Option<Vec<u8>> {
        let Ok(Answer::Granted(given)) = answer else { return None };
        Some(cbor::encode(&self.grant_statement(given)))
    }

    fn grant_statement(&self, given: &Given) -> GrantStatement {
        let session = &given.session;
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let times = self.keeper.times();
        let own = self.secrets.container_id().0;
        let (container_id, serial) = match &given.terms {
            Some(lender) => (lender.container_id, lender.serial.clone()),
            None => (own, crate::domain::serial(&own)),
        };
        GrantStatement {
            session: session.id.to_u128(),
            client_key: session.client_key,
            nonce: session.nonce,
            firm_code: session.firm_code.get(),
            product_code: session.product_code.get(),
            feature_map: session.feature_map.bits(),
            units: session.units(),
            serial,
            container_id,
            issued_at: session.since,
            revalidate_within_ms: millis(times.revalidate_within),
            reconnect_grace_ms: millis(times.reconnect_grace),
            ends_at: session.ends_at,
        }
    }
}

pub(super) fn not_signed() -> Problem {
    Problem::new(ErrorCode::Internal, "the lease key does not sign", "look into the log of the licence server")
}
