//! `--status-file`: what happens to the seat, for whoever started us and looks at files rather than at streams.

use std::path::PathBuf;

use lictor_api::types::v1::Refusal;
use lictor_clock::SharedClock;
use lictor_licensing::error::Problem;
use lictor_sdk::Seat;
use serde_json::{Value, json};

use super::child::Finish;
use crate::{files, output, show};

pub(super) struct StatusFile {
    path: Option<PathBuf>,
    clock: SharedClock,
}

impl StatusFile {
    pub(super) fn new(path: Option<PathBuf>, clock: SharedClock) -> Self {
        Self { path, clock }
    }

    pub(super) fn running(&self, seat: &Seat) {
        self.write(json!({
            "state": "running",
            "session_id": seat.session_id(),
            "serial": seat.serial(),
            "product_code": seat.entry().product_code,
            "feature_map": seat.feature_map(),
            "units": seat.units(),
        }));
    }

    pub(super) fn ended(&self, finish: &Finish) {
        self.write(match finish {
            Finish::Code(code) => json!({ "state": "ended", "exit_code": code }),
            Finish::Signal(number) => json!({ "state": "ended", "signal": number, "exit_code": finish.exit_code() }),
            Finish::SeatLost { reason, code } => {
                json!({ "state": "lost", "reason": reason, "command_exit_code": code, "exit_code": finish.exit_code() })
            }
        });
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        let mut object = show::refusal_object(refusal);
        object["state"] = "refused".into();
        self.write(object);
    }

    pub(super) fn failed(&self, problem: &Problem) {
        let mut object = output::error_object(problem.code.name(), &problem.message, &problem.next);
        object["state"] = "failed".into();
        self.write(object);
    }

    /// A status that cannot be written is told, but is no reason to end what runs.
    fn write(&self, mut object: Value) {
        let Some(path) = &self.path else { return };
        object["at"] = self.clock.now().to_string().into();
        if let Err(failure) = files::replace(path, format!("{object}\n").as_bytes(), 0o644) {
            output::complain(&format!("warning: {failure}"));
        }
    }
}
