//! The broker crate against real databases and, when `LICTOR_TEST_AMQP_URL` names one, a real RabbitMQ.

mod installation;
mod delivery;
mod feed;
