//! The broker crate against real databases and, when `LICTOR_TEST_AMQP_URL` names one, a real RabbitMQ.

mod delivery;
mod feed;
mod installation;
