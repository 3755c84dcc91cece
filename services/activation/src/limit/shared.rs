//! The counter in Redis: one script takes all charges or none, so replicas cannot overtake each other.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_runtime::StartError;
use redis::{
    Client, RedisError, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::domain::limit::{Charge, millis};

/// Longest wait for an answer: nobody must wait for a broken counter.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// KEYS: the names. ARGV: now, then cost and reach of each; milliseconds. Answers 0, or the wait.
const TAKE: &str = "
local now = tonumber(ARGV[1])
local nexts, wait = {}, 0
for i = 1, #KEYS do
  local cost, reach = tonumber(ARGV[i * 2]), tonumber(ARGV[i * 2 + 1])
  local paid = tonumber(redis.call('GET', KEYS[i]) or '0')
  nexts[i] = math.max(paid, now) + cost
  wait = math.max(wait, nexts[i] - now - reach)
end
if wait > 0 then return wait end
for i = 1, #KEYS do
  redis.call('SET', KEYS[i], string.format('%.0f', nexts[i]), 'PX', string.format('%.0f', nexts[i] - now + 1000))
end
return 0";

/// KEYS: the names. ARGV: cost of each.
const REFUND: &str = "
for i = 1, #KEYS do
  local paid = redis.call('GET', KEYS[i])
  if paid then
    redis.call('SET', KEYS[i], string.format('%.0f', tonumber(paid) - tonumber(ARGV[i])), 'KEEPTTL')
  end
end
return 0";

/// Paid-for times in Redis. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    connection: ConnectionManager,
    prefix: String,
    take: Script,
    refund: Script,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Shared {
    /// A counter at `redis://…`. It connects when it is first used, so it must be made inside a runtime.
    ///
    /// # Errors
    /// `Settings` for a malformed address.
    pub fn new(url: &str, prefix: &str) -> Result<Self, StartError> {
        let malformed = |_| StartError::settings("the Redis address is malformed; next: write redis://HOST:PORT/");
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(ANSWER_TIME))
            .set_connection_timeout(Some(ANSWER_TIME))
            .set_number_of_retries(1);
        let client = Client::open(url).map_err(malformed)?;
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(malformed)?;
        Ok(Self { connection, prefix: prefix.to_owned(), take: Script::new(TAKE), refund: Script::new(REFUND) })
    }

    /// Takes all charges or none; the inner error is the wait in milliseconds.
    pub async fn take(&self, charges: &[Charge], now: Timestamp) -> Result<Result<(), i64>, RedisError> {
        let mut call = self.take.prepare_invoke();
        for charge in charges {
            call.key(self.name(charge));
        }
        call.arg(millis(now));
        for charge in charges {
            call.arg(charge.cost_ms).arg(charge.limit.reach_ms());
        }
        let wait: i64 = call.invoke_async(&mut self.connection.clone()).await?;
        Ok(if wait > 0 { Err(wait) } else { Ok(()) })
    }

    /// Gives charges back.
    pub async fn refund(&self, charges: &[Charge]) -> Result<(), RedisError> {
        let mut call = self.refund.prepare_invoke();
        for charge in charges {
            call.key(self.name(charge)).arg(charge.cost_ms);
        }
        call.invoke_async::<i64>(&mut self.connection.clone()).await?;
        Ok(())
    }

    /// All in one slot, so that the script also runs on a cluster.
    fn name(&self, charge: &Charge) -> String {
        format!("{{{}}}:{}:{}", self.prefix, charge.class, charge.who)
    }
}
