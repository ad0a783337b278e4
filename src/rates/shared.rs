//! Limits counted in Redis, for all replicas together: one call a request, by the clock of Redis.

use super::{Charge, Key, Rate, tightest};
use crate::allowance::Allowance;
use crate::redis::{Redis, Script, Unavailable, Value};
use std::sync::Arc;

/// Each key holds when its limit will be whole again, in microseconds since the epoch, and goes when it is. Arguments are
/// the weight of one request and the capacity, in microseconds; the answer is 1 or 0, and the weight of each limit.
const SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer, weights = {1}, {}
for place, key in ipairs(KEYS) do
    local weight = (tonumber(redis.call('GET', key)) or now) - now
    if weight < 0 then weight = 0 end
    weights[place] = weight
    answer[place + 1] = weight
    if weight + tonumber(ARGV[place * 2 - 1]) > tonumber(ARGV[place * 2]) then answer[1] = 0 end
end
if answer[1] == 1 then
    for place, key in ipairs(KEYS) do
        local weight = weights[place] + tonumber(ARGV[place * 2 - 1])
        answer[place + 1] = weight
        redis.call('SET', key, string.format('%.0f', now + weight), 'PX', math.ceil(weight / 1000))
    end
end
return answer";

/// Limits counted in Redis.
#[derive(Debug)]
pub(super) struct Shared {
    redis: Arc<Redis>,
    script: Script,
}

impl Shared {
    pub(super) fn new(redis: Arc<Redis>) -> Self {
        Self { redis, script: Script::new(SCRIPT) }
    }

    /// Counts a request against every limit, or against none if one of them has no room.
    pub(super) async fn charge(&self, charges: &[Charge]) -> Result<Option<Allowance>, Unavailable> {
        let keys: Vec<String> = charges.iter().map(|charge| self.key(charge.key)).collect();
        let arguments: Vec<u64> = charges.iter().flat_map(|charge| terms(&charge.rate)).collect();
        let answer = self.redis.evaluate(&self.script, &keys, &arguments).await?;
        let Value::Array(answer) = answer else { return Err(Unavailable) };
        let mut answer = answer.into_iter().map(|value| {
            let Value::Int(number) = value else { return Err(Unavailable) };
            u64::try_from(number).map_err(|_| Unavailable)
        });
        let refused = answer.next().ok_or(Unavailable)?? == 0;
        let weights: Vec<u64> = answer.collect::<Result<_, _>>()?;
        if weights.len() != charges.len() {
            return Err(Unavailable);
        }
        Ok(tightest(charges.iter().zip(weights).map(|(charge, weight)| told(&charge.rate, weight, refused))))
    }

    fn key(&self, Key(hash): Key) -> String {
        self.redis.key(&format!("limit:{hash:032x}"))
    }
}

/// The weight of one request, and the capacity, in microseconds.
fn terms(rate: &Rate) -> [u64; 2] {
    let interval = interval(rate);
    [interval, interval.saturating_mul(rate.limit.saturating_add(rate.burst))]
}

/// Redis has no finer clock; a limit of more than a million a second is one of a million.
fn interval(rate: &Rate) -> u64 {
    rate.interval().div_ceil(1000)
}

/// What a limit of that weight has left; of several only those have refused that have no room for one more.
fn told(rate: &Rate, weight: u64, refused: bool) -> Allowance {
    let [interval, capacity] = terms(rate);
    let refused = refused && weight.saturating_add(interval) > capacity;
    rate.allowance(weight.saturating_mul(1000), refused)
}
