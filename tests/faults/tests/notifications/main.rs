//! Notifications whatever breaks: RabbitMQ, PostgreSQL, the dispatcher, the receiver. Nothing lost, one id and one body for
//! each event, order kept for each subject.
//!
//! `LICTOR_TEST_SCALE` is a percentage of the full run of 20,000 events; `LICTOR_TEST_SEED` repeats one.

mod breaks;
mod late;
mod receiver;
mod receivers;
mod stage;
