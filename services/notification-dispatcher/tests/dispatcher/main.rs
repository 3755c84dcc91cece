//! The notification dispatcher from outside: real producers' feeds over gRPC, a real database, real HTTP receivers.
//!
//! SQLite always; PostgreSQL and RabbitMQ when `LICTOR_TEST_POSTGRES_URL` and `LICTOR_TEST_AMQP_URL` name servers.

mod access;
mod answers;
mod guard;
mod intake;
mod order;
mod program;
mod receiver;
mod time;
mod webhook;
mod world;
