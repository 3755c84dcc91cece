//! The notification dispatcher from outside: real producers' feeds over gRPC, a real database, real HTTP receivers.
//!
//! SQLite always; PostgreSQL and RabbitMQ when `LICTOR_TEST_POSTGRES_URL` and `LICTOR_TEST_AMQP_URL` name servers.

mod access;
mod ahead;
mod answers;
mod aside;
mod feed;
mod guard;
mod intake;
mod keys;
mod killed;
mod order;
mod pace;
mod program;
mod receiver;
mod records;
mod replay;
mod time;
mod webhook;
mod world;
