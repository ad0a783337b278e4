//! The service that knows what customers may do, and how its answers are read.

use crate::authn::claims::{ClaimPath, quotas};
use crate::clock::{Clock, UnixTime};
use crate::facts::Facts;
use crate::identity::Texts;
use crate::inquiry::{Answer, Authority, Failure, Heard};
use crate::json::{self, Object, Value};
use crate::outbound::HttpClient;
use crate::quotas::Quotas;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use http::{Request, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// So long it is as good as new.
    pub ttl: Duration,
    /// So long after that it serves while the next one is asked for.
    pub stale_while_revalidate: Duration,
    /// So long after `ttl` it serves while the service fails.
    pub stale_if_error: Duration,
}

/// The service that is asked.
#[derive(Clone, Debug)]
pub struct Service {
    /// `Authorization`, if it wants one.
    pub authorization: Option<HeaderValue>,
    /// Where the capabilities stand in its answer.
    pub capabilities: ClaimPath,
    /// Where the quotas stand.
    pub quotas: ClaimPath,
    /// How long its answers count.
    pub terms: Terms,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Whoever carries the question.
    pub client: Arc<dyn HttpClient>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

impl Authority for Service {
    type Value = Facts;

    async fn ask(&self, url: &str) -> Result<Heard<Facts>, Failure> {
        let asked = self.clock.now();
        let mut request = Request::get(url).header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Bytes::new());
        let request = request.map_err(|_| Failure::Unusable("not an http or https URL".to_owned()))?;
        let response = self.client.send(request, self.timeout).await?;
        Ok(self.heard(self.read(&response)?, asked, self.clock.now()))
    }
}

impl Service {
    /// What the answer says. Who is unknown may do nothing.
    fn read(&self, response: &Response<Bytes>) -> Result<Facts, Failure> {
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Facts::default()),
            status => return Err(Failure::status(status)),
        }
        let members = json::object(response.body()).map_err(Failure::malformed)?;
        Ok(Facts {
            capabilities: self.capabilities.find(&members).map_or(Ok(Texts::default()), capabilities)?,
            quotas: self.quotas.find(&members).map_or(Ok(Quotas::default()), limits)?,
        })
    }

    fn heard(&self, facts: Facts, asked: UnixTime, received: UnixTime) -> Heard<Facts> {
        let Terms { ttl, stale_while_revalidate, stale_if_error } = self.terms;
        let bytes = facts.weight();
        let fresh_until = asked.plus(ttl);
        let stale_until = fresh_until.plus(stale_while_revalidate);
        let answer = Answer { value: facts, received, fresh_until, stale_until };
        Heard { answer, fallback_until: fresh_until.plus(stale_if_error).max(stale_until), bytes }
    }
}

/// An object of booleans, of which those that are true count, or a list of texts.
fn capabilities(value: &Value<'_>) -> Result<Texts, Failure> {
    let malformed =
        || Failure::malformed("capabilities are neither an object of booleans nor a list of texts");
    let names: Texts = match value {
        Value::List(list) => {
            list.iter().map(|name| name.as_text().ok_or_else(malformed)).collect::<Result<_, _>>()?
        }
        Value::Object(members) => held(members).ok_or_else(malformed)?,
        Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) => return Err(malformed()),
    };
    // A header could not carry it, and that is not the fault of whoever asks.
    let is_name = |name: &str| {
        !name.is_empty()
            && name.trim() == name
            && !name.contains(|letter: char| letter == ',' || letter.is_control())
    };
    if names.iter().all(is_name) {
        return Ok(names);
    }
    Err(Failure::malformed("a capability is empty, or has a comma, a control character or an outer space"))
}

fn held(members: &Object<'_>) -> Option<Texts> {
    let mut names = Vec::new();
    for (name, value) in members.iter() {
        match value {
            Value::Boolean(true) => names.push(name),
            Value::Boolean(false) => {}
            Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Object(_) => {
                return None;
            }
        }
    }
    Some(names.into_iter().collect())
}

fn limits(value: &Value<'_>) -> Result<Quotas, Failure> {
    let malformed = || Failure::malformed("quotas are not an object of numbers");
    quotas(value.as_object().ok_or_else(malformed)?).map_err(|_| malformed())
}

#[cfg(test)]
mod tests;
