//! What can be said about an answer: a fact is expected before a request and observed after it, in the same words.

use http::{HeaderMap, Response, header};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// Events that arrive within this time of each other were held back on the way.
const APART: Duration = Duration::from_millis(300);

/// One fact about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The status.
    Status(u16),
    /// The `error` of the bearer challenge (RFC 6750 §3.1); empty = a challenge without one.
    Challenge(Option<String>),
    /// A header field of the answer.
    Answers(&'static str, Option<String>),
    /// A header field of the request as the service saw it.
    Sees(&'static str, Option<String>),
    /// The body of the request as the service saw it.
    SeesBody(String),
    /// Whether the service saw the request at all.
    Reached(bool),
    /// That many server-sent events, and whether they came as they were sent.
    Events { count: usize, live: bool },
    /// The messages of a WebSocket.
    Messages(Vec<String>),
    /// Whether the body mentions a word.
    Mentions(&'static str, bool),
}

impl Fact {
    /// The same fact, as it is in `response`.
    pub(super) fn observed(&self, response: &Response<Vec<(Duration, String)>>) -> Self {
        let pieces = response.body();
        let body = || pieces.iter().map(|(_, piece)| piece.as_str()).collect::<String>();
        let headers = response.headers();
        match self {
            Self::Status(_) => Self::Status(response.status().as_u16()),
            Self::Challenge(_) => Self::Challenge(challenge(headers)),
            Self::Answers(name, _) => Self::Answers(name, text(headers, name)),
            Self::Sees(name, _) => match seen(&body()) {
                Some(request) => {
                    let value =
                        request.pointer("/headers").and_then(|all| all.get(name)).and_then(Value::as_str);
                    Self::Sees(name, value.map(str::to_owned))
                }
                None => Self::Reached(false),
            },
            Self::SeesBody(_) => match seen(&body()).and_then(|request| request.get("body").cloned()) {
                Some(body) => Self::SeesBody(body.as_str().unwrap_or_default().to_owned()),
                None => Self::Reached(false),
            },
            Self::Reached(_) => Self::Reached(seen(&body()).is_some()),
            Self::Events { .. } => events(&body(), pieces),
            Self::Messages(_) => Self::Messages(pieces.iter().map(|(_, piece)| piece.clone()).collect()),
            Self::Mentions(word, _) => Self::Mentions(word, body().contains(word)),
        }
    }
}

/// The request as the service describes it, if the body is such a description.
fn seen(body: &str) -> Option<Value> {
    serde_json::from_str(body).ok().filter(|value: &Value| value.get("headers").is_some())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn challenge(headers: &HeaderMap) -> Option<String> {
    let value = text(headers, header::WWW_AUTHENTICATE.as_str())?;
    let (_, rest) = value.split_once("error=\"").unwrap_or_default();
    Some(rest.split('"').next().unwrap_or_default().to_owned())
}

fn events(body: &str, pieces: &[(Duration, String)]) -> Fact {
    let count = body.lines().filter(|line| line.starts_with("data:")).count();
    let live = match (pieces.first(), pieces.last()) {
        (Some((first, _)), Some((last, _))) => last.saturating_sub(*first) > APART,
        _ => false,
    };
    Fact::Events { count, live }
}

impl fmt::Display for Fact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::Challenge(None) => formatter.write_str("no challenge"),
            Self::Challenge(Some(error)) if error.is_empty() => {
                formatter.write_str("a challenge without error")
            }
            Self::Challenge(Some(error)) => write!(formatter, "error {error}"),
            Self::Answers(name, Some(value)) => write!(formatter, "{name}: {value}"),
            Self::Answers(name, None) => write!(formatter, "no {name}"),
            Self::Sees(name, Some(value)) => write!(formatter, "service sees {name}: {value}"),
            Self::Sees(name, None) => write!(formatter, "service sees no {name}"),
            Self::SeesBody(body) => write!(formatter, "service sees body {body}"),
            Self::Reached(true) => formatter.write_str("service sees the request"),
            Self::Reached(false) => formatter.write_str("service sees nothing"),
            Self::Events { count, live: true } => write!(formatter, "{count} events, one by one"),
            Self::Events { count, live: false } => write!(formatter, "{count} events, all at once"),
            Self::Messages(texts) => write!(formatter, "messages \"{}\"", texts.join("\", \"")),
            Self::Mentions(word, true) => write!(formatter, "mentions {word}"),
            Self::Mentions(word, false) => write!(formatter, "does not mention {word}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fact;
    use http::Response;
    use std::time::Duration;

    fn response(status: u16, pieces: &[(u64, &str)]) -> Response<Vec<(Duration, String)>> {
        let timed = |(millis, text): &(u64, &str)| (Duration::from_millis(*millis), (*text).to_owned());
        Response::builder().status(status).body(pieces.iter().map(timed).collect()).unwrap()
    }

    #[test]
    fn a_header_is_there_or_not_or_nobody_looked() {
        let fact = Fact::Sees("x-a", Some("1".to_owned()));
        assert_eq!(fact.observed(&response(200, &[(0, r#"{"headers": {"#), (0, r#""x-a": "1"}}"#)])), fact);
        assert_eq!(fact.observed(&response(200, &[(0, r#"{"headers": {}}"#)])), Fact::Sees("x-a", None));
        // A refusal proves nothing about headers: absence must not be read into it.
        let absent = Fact::Sees("x-a", None);
        assert_eq!(absent.observed(&response(401, &[(0, r#"{"detail": ""}"#)])), Fact::Reached(false));
    }

    #[test]
    fn untouched_means_that_the_service_saw_no_request() {
        assert_eq!(Fact::Reached(false).observed(&response(403, &[(0, "{}")])), Fact::Reached(false));
        assert_ne!(
            Fact::Reached(false).observed(&response(403, &[(0, r#"{"headers": {}}"#)])),
            Fact::Reached(false)
        );
    }

    #[test]
    fn challenges_are_told_apart() {
        let mut denied = response(401, &[]);
        let fact = Fact::Challenge(None);
        assert_eq!(fact.observed(&denied), Fact::Challenge(None));
        let set = |value: &'static str| http::HeaderValue::from_static(value);
        denied.headers_mut().insert("www-authenticate", set("Bearer realm=\"a\""));
        assert_eq!(fact.observed(&denied), Fact::Challenge(Some(String::new())));
        denied.headers_mut().insert("www-authenticate", set("Bearer realm=\"a\", error=\"invalid_token\""));
        assert_eq!(fact.observed(&denied), Fact::Challenge(Some("invalid_token".to_owned())));
    }

    #[test]
    fn events_that_were_held_back_are_noticed() {
        let fact = Fact::Events { count: 2, live: true };
        assert_eq!(fact.observed(&response(200, &[(1, "data: 1\n\n"), (402, "data: 2\n\n")])), fact);
        let at_once = Fact::Events { count: 2, live: false };
        assert_eq!(fact.observed(&response(200, &[(400, "data: 1\n\ndata: 2\n\n")])), at_once);
    }
}
