//! `[cors]` → what browsers are told.

use crate::config::Config;
use crate::config::cors::Cors as Written;
use crate::config::problem::{KeyPath, Problems};
use crate::headers::cors::{Cors, ORIGIN_HINT, Origins, RequestHeaders, is_about_origins, is_origin};
use crate::policy::router::methods;
use http::header::{HeaderName, HeaderValue};

/// Stands for everything.
const ANY: &str = "*";

pub(super) fn compile(config: &Config, problems: &mut Problems) -> Option<Cors> {
    let written = config.cors.as_ref()?;
    let at = KeyPath::root("cors");
    check_response_headers(config, problems);
    let origins = origins(written, &at, problems);
    let methods = match written.allowed_methods.as_slice() {
        [] => Vec::new(),
        some => methods(some, &at.key("allowed_methods"), problems),
    };
    let methods: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
    if methods.contains(&ANY) {
        let hint = "name the methods that scripts may use";
        problems.error(at.key("allowed_methods"), "\"*\" is not a method", hint);
    }
    let asked = names(&written.allowed_headers, &at.key("allowed_headers"), problems);
    let request_headers = match asked.as_deref() {
        Some([any]) if any == ANY => RequestHeaders::Asked,
        Some(_) | None => RequestHeaders::Listed(list(asked.as_deref().unwrap_or_default())),
    };
    let exposed = names(&written.exposed_headers, &at.key("exposed_headers"), problems).unwrap_or_default();
    if written.allow_credentials && exposed.iter().any(|name| name == ANY) {
        // With credentials browsers take it for a header of that name (Fetch §3.2.5).
        let hint = "name the headers that scripts may read";
        problems.error(at.key("exposed_headers"), "\"*\" means nothing beside allow_credentials", hint);
    }
    Some(Cors {
        origins: origins?,
        methods: list(&methods),
        request_headers,
        exposed: list(&exposed),
        credentials: written.allow_credentials,
        max_age: HeaderValue::from(written.max_age.0.as_secs()),
    })
}

/// There is one place where something is said about origins.
fn check_response_headers(config: &Config, problems: &mut Problems) {
    let about =
        |text: &&String| HeaderName::try_from(text.as_str()).is_ok_and(|name| is_about_origins(&name));
    for text in config.response_headers.keys().filter(about) {
        let at = KeyPath::root("response_headers").key(text);
        problems.error(at, format!("[cors] says what {text} is"), "remove it here, or remove [cors]");
    }
}

fn origins(written: &Written, at: &KeyPath, problems: &mut Problems) -> Option<Origins> {
    let key = at.key("allowed_origins");
    if let [only] = written.allowed_origins.as_slice()
        && only == ANY
    {
        if written.allow_credentials {
            problems.error(
                at.key("allow_credentials"),
                "every site could act for whoever is logged in",
                "name the origins in allowed_origins, or leave allow_credentials out",
            );
        }
        return Some(Origins::Any);
    }
    let mut listed = Vec::new();
    for (index, text) in written.allowed_origins.iter().enumerate() {
        let mut fault = |message: String, hint: &str| problems.error(key.index(index), message, hint);
        match HeaderValue::from_str(text) {
            _ if text == ANY => {
                fault("\"*\" stands beside others".to_owned(), "write [\"*\"], or name them all");
            }
            Ok(origin) if listed.contains(&origin) => fault(format!("{text} is named twice"), "name it once"),
            Ok(origin) if is_origin(text) => listed.push(origin),
            Ok(_) | Err(_) => fault(format!("{text:?} is not an origin as browsers send it"), ORIGIN_HINT),
        }
    }
    (!listed.is_empty()).then_some(Origins::Listed(listed))
}

/// Header names, or `*` alone; none where something is wrong.
fn names(written: &[String], at: &KeyPath, problems: &mut Problems) -> Option<Vec<String>> {
    let mut good = true;
    for (index, text) in written.iter().enumerate() {
        let fault = match HeaderName::try_from(text.as_str()) {
            Err(_) => (format!("{text:?} is not a header name"), "use letters, digits and \"-\""),
            Ok(_) if text == ANY && written.len() > 1 => {
                ("\"*\" stands beside others".to_owned(), "write [\"*\"], or name them all")
            }
            Ok(_) => continue,
        };
        good = false;
        problems.error(at.index(index), fault.0, fault.1);
    }
    good.then(|| written.iter().map(|text| text.to_ascii_lowercase()).collect())
}

/// A field value; none for an empty list.
fn list<T: AsRef<str>>(words: &[T]) -> Option<HeaderValue> {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    HeaderValue::try_from(words.join(", ")).ok().filter(|list| !list.is_empty())
}
