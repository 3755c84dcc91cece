//! The counter in Redis: one script takes from both limits or from none, so replicas cannot overtake each other.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_runtime::StartError;
use redis::{
    Client, RedisError, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::domain::guess::{Limits, millis};

/// Longest wait for an answer: a ticket must not wait for a broken counter.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// KEYS: address, all. ARGV: now, then refill and reach of the address, then refill and reach of all; milliseconds.
/// Answers 0, or the wait.
const TAKE: &str = "
local now = tonumber(ARGV[1])
local nexts, wait = {}, 0
for i = 1, 2 do
  local refill, reach = tonumber(ARGV[i * 2]), tonumber(ARGV[i * 2 + 1])
  local paid = tonumber(redis.call('GET', KEYS[i]) or '0')
  nexts[i] = math.max(paid, now) + refill
  wait = math.max(wait, nexts[i] - now - reach)
end
if wait > 0 then return wait end
for i = 1, 2 do
  redis.call('SET', KEYS[i], string.format('%.0f', nexts[i]), 'PX', string.format('%.0f', nexts[i] - now + 1000))
end
return 0";

/// KEYS: address, all. ARGV: refill of each.
const REFUND: &str = "
for i = 1, 2 do
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

    /// Takes a try from both limits or from none; the inner error is the wait in milliseconds.
    pub async fn take(&self, peer: &str, limits: &Limits, now: Timestamp) -> Result<Result<(), i64>, RedisError> {
        let [of_peer, of_all] = self.keys(peer);
        let wait: i64 = self
            .take
            .key(of_peer)
            .key(of_all)
            .arg(millis(now))
            .arg(limits.peer.refill_ms())
            .arg(limits.peer.reach_ms())
            .arg(limits.all.refill_ms())
            .arg(limits.all.reach_ms())
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(if wait > 0 { Err(wait) } else { Ok(()) })
    }

    /// Gives a try back.
    pub async fn refund(&self, peer: &str, limits: &Limits) -> Result<(), RedisError> {
        let [of_peer, of_all] = self.keys(peer);
        self.refund
            .key(of_peer)
            .key(of_all)
            .arg(limits.peer.refill_ms())
            .arg(limits.all.refill_ms())
            .invoke_async::<i64>(&mut self.connection.clone())
            .await?;
        Ok(())
    }

    /// Both in one slot, so that the script also runs on a cluster.
    fn keys(&self, peer: &str) -> [String; 2] {
        [format!("{{{}}}:guess:{peer}", self.prefix), format!("{{{}}}:guess:all", self.prefix)]
    }
}
