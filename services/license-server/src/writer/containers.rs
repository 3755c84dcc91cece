//! What becomes of the seats of containers that the engine tells of.

use super::Writer;
use crate::domain::ask::Moment;
use crate::domain::event::EventType;

impl Writer {
    /// A container ended: its seats are free at once.
    pub fn container_ended(&mut self, container: &str, moment: Moment) {
        for record in self.keeper.container_ended(container, moment) {
            self.lazy.push(record.to_bytes());
            self.metrics.expired();
        }
        self.tell_over(EventType::SeatExpired, moment);
    }
}
