//! Token introspection (RFC 7662): the authorization server is asked about a token that only it can read.

use super::opinion::{Moments, Opinion, Reading};
use crate::clock::Clock;
use crate::config::authenticator::ClientAuth;
use crate::denial::Reason;
use crate::inquiry::{Authority, Failure, Heard};
use crate::json::{self, Value};
use crate::outbound::{COMPONENT, HttpClient};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use percent_encoding::{percent_encode, utf8_percent_encode};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// What `auth_method` says of an identity that came from here.
pub const KIND: &str = "introspection";

/// Who sidegate is to the authorization server (RFC 6749 §2.3.1).
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The client's id.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// How it is shown.
    pub method: ClientAuth,
}

/// An introspection endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it is.
    pub url: String,
    /// Who asks there.
    pub credentials: Credentials,
    /// How its answers are read.
    pub reading: Reading,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Whoever carries the question.
    pub client: Arc<dyn HttpClient>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

impl Authority for Endpoint {
    type Value = Opinion;

    async fn ask(&self, token: &str) -> Result<Heard<Opinion>, Failure> {
        let asked = self.clock.now();
        let response = self.client.send(self.request(token)?, self.timeout).await?;
        self.read(&response, Moments { asked, answered: self.clock.now() })
    }
}

impl Endpoint {
    /// The question (RFC 7662 §2.1).
    fn request(&self, token: &str) -> Result<Request<Bytes>, Failure> {
        let Credentials { id, secret, method } = &self.credentials;
        let id = utf8_percent_encode(id, COMPONENT).to_string();
        let secret = Zeroizing::new(percent_encode(secret.expose(), COMPONENT).to_string());
        let token = utf8_percent_encode(token, COMPONENT);
        let mut form = format!("token={token}&token_type_hint=access_token");
        let mut request = Request::post(&self.url)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match method {
            ClientAuth::Basic => {
                let pair = Zeroizing::new(format!("{id}:{}", *secret));
                let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                let mut value = HeaderValue::from_str(&value)
                    .map_err(|_| Failure::Unusable("the client's secret cannot be sent".to_owned()))?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            ClientAuth::Post => {
                form.push_str("&client_id=");
                form.push_str(&id);
                form.push_str("&client_secret=");
                form.push_str(&secret);
            }
        }
        request.body(form.into()).map_err(|_| Failure::Unusable("not an http or https URL".to_owned()))
    }

    /// The answer (RFC 7662 §2.2). Only the boolean `true` is active: a server that says anything else but the boolean `false`
    /// is one that cannot be understood, and nobody is let in or turned away by it.
    fn read(&self, response: &Response<Bytes>, moments: Moments) -> Result<Heard<Opinion>, Failure> {
        if response.status() != StatusCode::OK {
            return Err(Failure::status(response.status()));
        }
        let members = json::object(response.body()).map_err(Failure::malformed)?;
        match members.get("active") {
            Some(Value::Boolean(true)) => self.reading.of_good(&members, moments),
            Some(Value::Boolean(false)) => {
                let why = "the authority says that it is not active".into();
                Ok(self.reading.bad(Reason::TokenInactive, why, moments))
            }
            Some(Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Object(_))
            | None => Err(Failure::malformed("`active` is neither true nor false")),
        }
    }
}

#[cfg(test)]
mod tests;
