//! What `POST /revocations` is asked: `{"attribute": "sid", "value": "…", "until": "2026-01-31T12:00:00Z"}`.
//!
//! It is read strictly, and what is wrong is told without repeating a value.

use crate::clock::UnixTime;
use crate::hex;
use crate::json::{self, Number, Object, Value};
use crate::revocation::{Digest, Term, Watched, digest_of};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How far away the end of a revocation may be: who wants more has most likely counted in milliseconds.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

const MEMBERS: [&str; 4] = ["attribute", "value", "sha256", "until"];

/// A revocation as it is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) attribute: String,
    pub(super) digest: Digest,
    pub(super) term: Term,
}

impl Wanted {
    pub(super) fn read(body: &[u8], watched: &Watched, now: UnixTime) -> Result<Self, &'static str> {
        let members =
            json::object(body).map_err(|_| "the body is no JSON object, or a member stands twice")?;
        if members.iter().any(|(name, _)| !MEMBERS.contains(&name)) {
            return Err("there is an unknown member: there are attribute, value or sha256, and until");
        }
        let attribute = text(&members, "attribute")?.ok_or("the member attribute is missing")?;
        if !watched.names(attribute) {
            return Err("the attribute is none of [revocation] attributes");
        }
        let digest = match (text(&members, "value")?, text(&members, "sha256")?) {
            (Some(value), None) => digest_of(value.as_bytes()),
            (None, Some(sha256)) => {
                hex::decode(sha256.as_bytes()).ok_or("sha256 is not 64 hexadecimal digits")?
            }
            (Some(_), Some(_)) => return Err("there are both value and sha256"),
            (None, None) => return Err("the member value, or sha256, is missing"),
        };
        let until = until(members.get("until").ok_or("the member until is missing")?)?;
        if until <= now {
            return Err("until has passed");
        }
        if until > now.plus(LONGEST) {
            return Err("until is more than ten years away: it is in seconds, not in milliseconds");
        }
        Ok(Self { attribute: attribute.to_owned(), digest, term: Term { until, before: None } })
    }
}

fn text<'a>(members: &'a Object<'_>, name: &str) -> Result<Option<&'a str>, &'static str> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::Text(text)) if !text.is_empty() => Ok(Some(text)),
        Some(
            Value::Text(_)
            | Value::Null
            | Value::Boolean(_)
            | Value::Number(_)
            | Value::List(_)
            | Value::Object(_),
        ) => Err("attribute, value and sha256 are texts, and not empty"),
    }
}

/// An RFC 3339 time, or seconds since the epoch.
fn until(value: &Value<'_>) -> Result<UnixTime, &'static str> {
    const WRONG: &str = "until is neither an RFC 3339 time nor a whole number of seconds since 1970";
    match value {
        Value::Number(Number::Whole(seconds)) => {
            Ok(UnixTime::from_seconds(u64::try_from(*seconds).map_err(|_| WRONG)?))
        }
        Value::Text(text) => {
            let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| WRONG)?;
            let millis = time.unix_timestamp_nanos().checked_div(1_000_000).ok_or(WRONG)?;
            Ok(UnixTime::from_millis(u64::try_from(millis).map_err(|_| WRONG)?))
        }
        Value::Number(Number::Float(_))
        | Value::Null
        | Value::Boolean(_)
        | Value::List(_)
        | Value::Object(_) => Err(WRONG),
    }
}
