//! A service that knows whether a credential is good, and says so by its status.

use super::opinion::{Moments, Opinion, Reading};
use crate::clock::Clock;
use crate::config::authenticator::RemoteMethod;
use crate::denial::Reason;
use crate::inquiry::{Authority, Failure, Heard};
use crate::json::{self, Value};
use crate::outbound::HttpClient;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// What `auth_method` says of an identity that came from here.
pub const KIND: &str = "remote";

/// Members with which services say, under a status of 200, that a credential is bad after all.
const VERDICTS: [&str; 2] = ["valid", "active"];

/// A service that is asked about credentials.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where it is asked.
    pub url: String,
    /// How.
    pub method: RemoteMethod,
    /// How its answers are read.
    pub reading: Reading,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Whoever carries the question.
    pub client: Arc<dyn HttpClient>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

impl Authority for Service {
    type Value = Opinion;

    async fn ask(&self, credential: &str) -> Result<Heard<Opinion>, Failure> {
        let asked = self.clock.now();
        let value = Zeroizing::new(format!("Bearer {credential}"));
        let Ok(mut value) = HeaderValue::from_str(&value) else {
            let why = "it cannot stand in a header".into();
            return Ok(self.reading.bad(Reason::TokenMalformed, why, Moments { asked, answered: asked }));
        };
        value.set_sensitive(true);
        let method = match self.method {
            RemoteMethod::Get => Method::GET,
            RemoteMethod::Post => Method::POST,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&self.url)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, value);
        if self.method == RemoteMethod::Post {
            // Some services wait for a body, or refuse, unless they are told that there is none (RFC 9110 §8.6).
            request = request.header(CONTENT_LENGTH, "0");
        }
        let request = request
            .body(Bytes::new())
            .map_err(|_| Failure::Unusable("not an http or https URL".to_owned()))?;
        let response = self.client.send(request, self.timeout).await?;
        self.read(&response, Moments { asked, answered: self.clock.now() })
    }
}

impl Service {
    fn read(&self, response: &Response<Bytes>, moments: Moments) -> Result<Heard<Opinion>, Failure> {
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                let why = format!("the authority answers {}", response.status().as_u16());
                return Ok(self.reading.bad(Reason::TokenInactive, why.into(), moments));
            }
            status => return Err(Failure::status(status)),
        }
        let members = json::object(response.body()).map_err(Failure::malformed)?;
        let denies = |name: &&&str| members.get(name).is_some_and(|verdict| *verdict != Value::Boolean(true));
        match VERDICTS.iter().find(denies) {
            Some(name) => {
                let why = format!("the authority's `{name}` is not true");
                Ok(self.reading.bad(Reason::TokenInactive, why.into(), moments))
            }
            None => self.reading.of_good(&members, moments),
        }
    }
}

#[cfg(test)]
mod tests;
