//! The values of an entry of the key file.

use crate::clock::UnixTime;
use crate::config::check::words::found_noun;
use crate::config::document::{Node, Value};
use crate::hex;
use crate::identity::{Attribute, QUOTAS, SET_ATTRIBUTES, SUBJECT};
use crate::quotas::{Quota, Quotas};
use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;
use time::{Month, OffsetDateTime, UtcOffset};
use toml::value::{Date, Offset, Time};

pub(super) const DIGEST_HINT: &str =
    "write the SHA-256 of the whole key; `sidegate api-key new` makes a key and prints it";

const ATTRIBUTE_HINT: &str = "attributes are strings, whole numbers, true or false, and lists of strings";

const SET_HINT: &str = "write a list of strings, or one string with spaces between the elements";

const QUOTA_HINT: &str = "write { \"quota.name\" = 5 } with whole numbers from 0, or \"unlimited\"";

const DATE_HINT: &str = "write date and time, such as 2027-01-31T12:00:00Z; without an offset it is UTC";

/// What is wrong with a value, and what to do. Neither holds what a key or digest is.
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: String,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }

    pub(super) fn kind(expected: &str, node: &Node, hint: &str) -> Self {
        Self::new(format!("expected {expected}, found {}", found_noun(&node.value)), hint)
    }
}

/// A text that is not empty and can be logged and sent.
pub(super) fn name(node: &Node) -> Result<String, Wrong> {
    const HINT: &str = "write a name between quotes";
    let text = node.text().ok_or_else(|| Wrong::kind("a string", node, HINT))?;
    if text.value.is_empty() {
        Err(Wrong::new("is empty", HINT))
    } else {
        clean(&text.value).map(str::to_owned)
    }
}

/// 32 bytes in hexadecimal.
pub(super) fn digest(text: &str) -> Option<[u8; 32]> {
    hex::decode(text.as_bytes())
}

/// A point in time.
pub(super) fn moment(node: &Node) -> Result<UnixTime, Wrong> {
    let Value::Datetime(written) = &node.value else {
        return Err(Wrong::kind("a date and time", node, DATE_HINT));
    };
    let (Some(date), Some(time)) = (written.date, written.time) else {
        let lacks = if written.date.is_none() { "lacks the date" } else { "lacks the time of day" };
        return Err(Wrong::new(lacks, DATE_HINT));
    };
    let moment =
        absolute(date, time, written.offset).ok_or_else(|| Wrong::new("there is no such time", DATE_HINT))?;
    // What ended before 1970 has ended.
    let millis = moment.unix_timestamp_nanos().checked_div(1_000_000).unwrap_or_default();
    Ok(UnixTime::from_millis(u64::try_from(millis).unwrap_or_default()))
}

fn absolute(date: Date, time: Time, offset: Option<Offset>) -> Option<OffsetDateTime> {
    let minutes = match offset {
        None | Some(Offset::Z) => 0,
        Some(Offset::Custom { minutes }) => i32::from(minutes),
    };
    let month = Month::try_from(date.month).ok()?;
    let date = time::Date::from_calendar_date(date.year.into(), month, date.day).ok()?;
    let (second, nano) = (time.second.unwrap_or_default(), time.nanosecond.unwrap_or_default());
    let time = time::Time::from_hms_nano(time.hour, time.minute, second, nano).ok()?;
    let offset = UtcOffset::from_whole_seconds(minutes.checked_mul(60)?).ok()?;
    Some(OffsetDateTime::new_in_offset(date, time, offset))
}

/// The network of IPv4 that one of IPv4-mapped addresses stands for (RFC 4291 §2.5.5.2), or the network itself.
pub(super) fn plain(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(MAPPED_BITS)) {
        (IpAddr::V4(address), Some(bits)) if network.addr().is_ipv6() => {
            Ipv4Net::new(address, bits).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

/// The value of an attribute.
pub(super) fn attribute(name: &str, node: &Node) -> Result<Attribute, Wrong> {
    if name.is_empty() {
        return Err(Wrong::new("an attribute needs a name", "write a name in front of the equals sign"));
    }
    if name == QUOTAS {
        return quotas(node).map(Attribute::Quotas);
    }
    let is_set = SET_ATTRIBUTES.contains(&name);
    match &node.value {
        Value::Text(text) if is_set => {
            Ok(Attribute::Set(clean(&text.value)?.split(' ').filter(|word| !word.is_empty()).collect()))
        }
        Value::Text(text) if name == SUBJECT && text.value.is_empty() => {
            Err(Wrong::new("is empty", "leave it out, and the key's id is the subject"))
        }
        Value::Text(text) => Ok(Attribute::Text(clean(&text.value)?.into())),
        Value::List(items) if name != SUBJECT => elements(items),
        Value::Integer(number) if !is_set => Ok(Attribute::Integer((*number).into())),
        Value::Boolean(value) if !is_set && name != SUBJECT => Ok(Attribute::Boolean(*value)),
        _ if is_set => Err(Wrong::kind("a list of strings", node, SET_HINT)),
        _ if name == SUBJECT => {
            Err(Wrong::kind("a string or a whole number", node, "the subject is who holds the key"))
        }
        Value::Faulty
        | Value::Float
        | Value::Datetime(_)
        | Value::Table(_)
        | Value::List(_)
        | Value::Integer(_)
        | Value::Boolean(_) => {
            Err(Wrong::new(format!("an attribute cannot be {}", found_noun(&node.value)), ATTRIBUTE_HINT))
        }
    }
}

fn elements(items: &[Node]) -> Result<Attribute, Wrong> {
    let element = |item| {
        let text =
            Node::text(item).ok_or_else(|| Wrong::kind("strings in the list", item, ATTRIBUTE_HINT))?;
        if text.value.is_empty() {
            return Err(Wrong::new("an element is empty", "remove it"));
        }
        clean(&text.value)
    };
    items.iter().map(element).collect::<Result<_, _>>().map(Attribute::Set)
}

fn quotas(node: &Node) -> Result<Quotas, Wrong> {
    let Value::Table(entries) = &node.value else { return Err(Wrong::kind("a table", node, QUOTA_HINT)) };
    let mut quotas = Vec::with_capacity(entries.len());
    for entry in entries {
        let quota = match &entry.node.value {
            Value::Integer(limit) if *limit >= 0 => Quota::Limit(*limit),
            Value::Text(text) if text.value == "unlimited" => Quota::Unlimited,
            Value::Table(_) => {
                let hint = "a name with dots stands between quotes: \"quota.name\" = 5";
                return Err(Wrong::new(format!("{:?} is a table", entry.key), hint));
            }
            Value::Faulty
            | Value::Text(_)
            | Value::Integer(_)
            | Value::Float
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::List(_) => return Err(Wrong::new(format!("{:?} is no quota", entry.key), QUOTA_HINT)),
        };
        quotas.push((entry.key.as_str(), quota));
    }
    Ok(quotas.into_iter().collect())
}

/// A control character could stand in no header, and would break lines of logs.
fn clean(text: &str) -> Result<&str, Wrong> {
    if text.chars().any(char::is_control) {
        return Err(Wrong::new("has a control character", "remove it; it could not be sent to a service"));
    }
    Ok(text)
}
