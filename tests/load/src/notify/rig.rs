//! The dispatcher as a process on private PostgreSQL and RabbitMQ, fed by a producer of this process.

use std::{collections::BTreeMap, process::Command};

use anyhow::Context;
use lictor_test_support::{
    fleet::{Fleet, Service},
    producer::Producer,
    programs::Answer,
    running::{self, Rabbit},
    servers::{AMQP_URL, COUNT_STATEMENTS, POSTGRES_URL},
};
use serde_json::Value;

use crate::figures::{cpu_seconds, ended_children, resident_bytes};

/// Names of this run on the broker.
const PREFIX: &str = "load";

/// CPU seconds of each part.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// The dispatcher.
    pub dispatcher: f64,
    /// PostgreSQL, all of its processes: the producer's outbox lies there too.
    pub database: f64,
    /// RabbitMQ.
    pub broker: f64,
    /// This process: producer, relay and receiver.
    pub bench: f64,
}

impl Cpu {
    /// What was used since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            dispatcher: self.dispatcher - before.dispatcher,
            database: self.database - before.database,
            broker: self.broker - before.broker,
            bench: self.bench - before.bench,
        }
    }

    /// Dispatcher, database and broker.
    #[must_use]
    pub fn delivering(&self) -> f64 {
        self.dispatcher + self.database + self.broker
    }

    /// Everything.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.delivering() + self.bench
    }
}

/// What a run stands on.
pub struct Rig {
    /// Announces.
    pub producer: Producer,
    fleet: Fleet,
    postgres: u32,
    rabbit: u32,
}

impl Rig {
    /// Starts everything; nothing, said loudly, when there are no servers.
    ///
    /// # Errors
    /// A program does not come up.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        let (Ok(postgres), Ok(amqp)) = (std::env::var(POSTGRES_URL), std::env::var(AMQP_URL)) else {
            eprintln!("SKIPPED: no {POSTGRES_URL} and {AMQP_URL}; run under with-servers, as `make bench` does");
            return Ok(None);
        };
        let producer = Producer::start(&postgres, Some((&amqp, PREFIX))).await?;
        let extra = BTreeMap::from([
            ("LICTOR_PRODUCERS".to_owned(), producer.entry()),
            ("AMQP_PREFIX".to_owned(), PREFIX.to_owned()),
        ]);
        let Some(fleet) = Fleet::start_some(&[Service::Notification], extra)? else { return Ok(None) };
        let (postgres, rabbit) = (running::postgres(&postgres)?, Rabbit::at(&amqp)?.pid);
        Ok(Some(Self { producer, fleet, postgres, rabbit }))
    }

    /// Adds a destination for everything; gives its id.
    ///
    /// # Errors
    /// The dispatcher refuses.
    pub fn add(&self, url: &str) -> anyhow::Result<String> {
        let added = self.fleet.ok(&["notify", "destination", "add", "--url", url])?;
        let id =
            [&added["destination_id"], &added["destination"]["destination_id"]].into_iter().find_map(Value::as_str);
        Ok(id.with_context(|| format!("an id in {added}"))?.to_owned())
    }

    /// Stops deliveries to a destination.
    ///
    /// # Errors
    /// The dispatcher refuses.
    pub fn disable(&self, id: &str) -> anyhow::Result<()> {
        self.fleet.ok(&["notify", "destination", "disable", id])?;
        Ok(())
    }

    /// CPU so far.
    ///
    /// # Errors
    /// A process is gone.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        Ok(Cpu {
            dispatcher: cpu_seconds(self.dispatcher()?)?,
            database: with_children(self.postgres)?,
            broker: cpu_seconds(self.rabbit)?,
            bench: cpu_seconds(std::process::id())?,
        })
    }

    /// Resident bytes of the dispatcher.
    ///
    /// # Errors
    /// It is gone.
    pub fn resident(&self) -> anyhow::Result<f64> {
        resident_bytes(self.dispatcher()?)
    }

    /// The dispatcher's process id.
    ///
    /// # Errors
    /// It was never started.
    pub fn dispatcher(&self) -> anyhow::Result<u32> {
        self.fleet.with(Service::Notification, |process| process.id())
    }

    /// The statements that took the database most time since the last call, in milliseconds, with their counts; nothing
    /// when it does not count.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn statements(&self) -> anyhow::Result<Vec<String>> {
        if std::env::var_os(COUNT_STATEMENTS).is_none() {
            return Ok(Vec::new());
        }
        let ask =
            |statement: &str| Answer::of(Command::new("psql").arg(self.fleet.database()).args(["-qAtc", statement]));
        ask("create extension if not exists pg_stat_statements")?;
        let top =
            ask("select round(total_exec_time), calls, rows, left(regexp_replace(query, '\\s+', ' ', 'g'), 110) \
             from pg_stat_statements order by total_exec_time desc limit 14")?;
        ask("select pg_stat_statements_reset()")?;
        Ok(top.output.lines().map(str::to_owned).collect())
    }
}

/// CPU seconds of a process and its children, those that ended included.
fn with_children(pid: u32) -> anyhow::Result<f64> {
    let mut sum = cpu_seconds(pid)? + ended_children(pid)?;
    for child in running::children(pid)? {
        sum += cpu_seconds(child).unwrap_or_default();
    }
    Ok(sum)
}
