//! How revocations stand in Redis: `revoked:ATTRIBUTE:SHA256` with an expiry, and the log `revocations`.

use super::list::Term;
use super::mark::Digest;
use crate::clock::UnixTime;
use crate::hex;
use crate::redis::{Redis, Script, Unavailable, Value};

/// What the names of keys begin with, behind the prefix.
pub(super) const KEY: &str = "revoked:";

/// The log.
pub(super) const LOG: &str = "revocations";

/// What stands in front of a time in the value of a key that hits only what was issued before.
const BEFORE: &str = "before:";

/// Writes a revocation that is wider than both the one that is there and the new one, and tells of it in the log.
const WRITE: &str = "\
local left = redis.call('PTTL', KEYS[1])
local ttl = tonumber(ARGV[1])
local value = ARGV[2]
if left ~= -2 then
  local held = redis.pcall('GET', KEYS[1])
  if type(held) ~= 'string' then held = '' end
  local ours = tonumber(string.match(value, '^before:(%d+)$'))
  local theirs = tonumber(string.match(held, '^before:(%d+)$'))
  if ours and (not theirs or theirs > ours) then value = held end
  if left > ttl then ttl = left end
end
if left == -1 then
  redis.call('SET', KEYS[1], value)
else
  redis.call('SET', KEYS[1], value, 'PX', ttl)
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'key', ARGV[3], 'until', ARGV[4], 'value', value)
redis.call('PEXPIRE', KEYS[2], 86400000)
return 1";

/// Writes a revocation.
pub(super) async fn write(
    redis: &Redis,
    (name, digest): (&str, &Digest),
    term: Term,
    now: UnixTime,
) -> Result<(), Unavailable> {
    let key = format!("{name}:{}", hex::encode(digest));
    let left = now.until(term.until).as_millis().max(1).to_string();
    let value = term.before.map_or_else(String::new, |before| format!("{BEFORE}{}", before.millis()));
    let until = term.until.millis().to_string();
    let keys = [redis.key(&format!("{KEY}{key}")), redis.key(LOG)];
    redis.evaluate(&Script::new(WRITE), &keys, &[left, value, key, until]).await.map(drop)
}

/// The attribute and the digest that a key names, without its beginning.
pub(super) fn named(rest: &str) -> Option<(&str, Digest)> {
    let (name, digest) = rest.rsplit_once(':')?;
    Some((name, hex::decode(digest.as_bytes())?))
}

/// What the value of a key limits it to; a value that says nothing of the kind limits nothing.
pub(super) fn before(value: &str) -> Option<UnixTime> {
    let digits = value.strip_prefix(BEFORE)?;
    digits.parse().ok().map(UnixTime::from_millis)
}

/// What an entry of the log says.
pub(super) fn logged(fields: &[String]) -> Option<(String, Digest, Term)> {
    let field = |name: &str| {
        let mut pairs = fields.chunks_exact(2);
        pairs.find_map(|pair| match pair {
            [key, value] if key == name => Some(value.as_str()),
            _ => None,
        })
    };
    let (name, digest) = named(field("key")?)?;
    let until = UnixTime::from_millis(field("until")?.parse().ok()?);
    Some((name.to_owned(), digest, Term { until, before: field("value").and_then(before) }))
}

/// The entries of a log: the id and the fields of each.
pub(super) fn entries(answer: Value) -> Option<Vec<(String, Vec<String>)>> {
    let Value::Array(rows) = answer else { return None };
    let entry = |row| {
        let Value::Array(parts) = row else { return None };
        let [id, fields] = <[Value; 2]>::try_from(parts).ok()?;
        let Value::Array(fields) = fields else { return None };
        Some((text(id)?, fields.into_iter().map(text).collect::<Option<_>>()?))
    };
    rows.into_iter().map(entry).collect()
}

/// A text; what is no UTF-8 is none of ours, and reads as something else.
pub(super) fn text(value: Value) -> Option<String> {
    if let Value::BulkString(bytes) = value {
        Some(String::from_utf8_lossy(&bytes).into_owned())
    } else if let Value::SimpleString(text) = value {
        Some(text)
    } else {
        None
    }
}
