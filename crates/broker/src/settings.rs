//! Where the broker is, as settings that every announcing or consuming service has.

use lictor_runtime::{Field, Reader};

use crate::{Broker, RabbitOptions};

const AMQP_URL: Field = Field::optional(
    "amqp_url",
    "AMQP_URL",
    "RabbitMQ, `amqp://USER:PASSWORD@HOST:PORT/VHOST`; without it consumers read the event feeds alone",
)
.secret();
const AMQP_PREFIX: Field = Field::with_default(
    "amqp_prefix",
    "AMQP_PREFIX",
    "lictor",
    "start of all names on the broker, the same for all services",
);
const AMQP_CA: Field =
    Field::optional("amqp_ca", "AMQP_CA", "PEM file with the CA of the broker's certificate, for `amqps://`");

impl Broker {
    /// Reads the group; nothing when no broker is set.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let prefix = reader.text(&AMQP_PREFIX);
        let ca = reader.optional_file(&AMQP_CA);
        let url = reader.optional_secret(&AMQP_URL)?;
        Self::rabbit(url.expose(), RabbitOptions { prefix, ca }).map_err(|error| reader.mistake(&AMQP_URL, error)).ok()
    }

    /// As [`Broker::read`], with one inside this process when none is set.
    pub fn read_or_in_process(reader: &mut Reader) -> Self {
        Self::read(reader).unwrap_or_else(Self::in_process)
    }
}
