use super::{Cors, Origins, RequestHeaders, is_origin};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

const APP: &str = "https://app.example";

fn cors(origins: Origins) -> Cors {
    Cors {
        credentials: matches!(origins, Origins::Listed(_)),
        origins,
        methods: Some(HeaderValue::from_static("GET, PUT")),
        request_headers: RequestHeaders::Listed(Some(HeaderValue::from_static("authorization"))),
        exposed: Some(HeaderValue::from_static("x-request-id")),
        max_age: HeaderValue::from_static("600"),
    }
}

fn listed() -> Cors {
    cors(Origins::Listed([APP, "http://localhost:3000"].map(HeaderValue::from_static).into()))
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}

fn lines(map: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> =
        map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

#[test]
fn a_preflight_reads_what_is_allowed() {
    let asked = headers(&[("origin", APP), ("access-control-request-private-network", "true")]);
    let answer = listed().preflight(&asked).unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(
        lines(answer.headers()),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: authorization",
            "access-control-allow-methods: GET, PUT",
            "access-control-allow-origin: https://app.example",
            "access-control-max-age: 600",
            "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ]
    );
}

#[test]
fn only_an_exact_origin_and_only_one_may_read() {
    for fields in [
        &[][..],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", "HTTPS://APP.EXAMPLE")],
        &[("origin", "https://app.example.evil")],
        &[("origin", "https://app.example:443")],
        &[("origin", "https://app.example/")],
        &[("origin", "http://app.example")],
        &[("origin", "https://app.example, https://evil.example")],
        &[("origin", "*")],
        &[("origin", APP), ("origin", APP)],
        &[("origin", APP), ("origin", "https://evil.example")],
        &[("referer", APP)],
    ] {
        assert_eq!(listed().reader(&headers(fields)), None, "{fields:?}");
        assert!(listed().preflight(&headers(fields)).is_none(), "{fields:?}");
    }
    assert_eq!(listed().reader(&headers(&[("origin", APP)])).unwrap(), APP);
}

#[test]
fn headers_that_are_asked_for_are_named_back_as_names() {
    let any = Cors { request_headers: RequestHeaders::Asked, ..cors(Origins::Any) };
    let asked = |values: &[&str]| {
        let fields: Vec<_> = values.iter().map(|value| ("access-control-request-headers", *value)).collect();
        let answer = any.preflight(&headers(&fields)).unwrap();
        answer.headers().get("access-control-allow-headers").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(asked(&["X-A,  x-b"]).as_deref(), Some("x-a, x-b"));
    assert_eq!(asked(&["x-a", "x-b, <script>, \"x\", y z"]).as_deref(), Some("x-a, x-b"));
    for nothing in [&[][..], &[""], &[" , ,"]] {
        assert_eq!(asked(nothing), None, "{nothing:?}");
    }
}

#[test]
fn what_the_service_says_of_origins_is_replaced_and_its_vary_kept() {
    let theirs = &[
        ("access-control-allow-origin", "*"),
        ("access-control-allow-origin", "https://evil.example"),
        ("access-control-allow-private-network", "true"),
        ("vary", "Accept-Encoding"),
        ("x-a", "1"),
    ];
    let mut response = headers(theirs);
    listed().dress(&mut response, Some(HeaderValue::from_static(APP)));
    let ours = [
        "access-control-allow-credentials: true",
        "access-control-allow-origin: https://app.example",
        "access-control-expose-headers: x-request-id",
        "vary: Accept-Encoding",
        "vary: Origin",
        "x-a: 1",
    ];
    assert_eq!(lines(&response), ours);
    let mut response = headers(theirs);
    listed().dress(&mut response, None);
    assert_eq!(lines(&response), ["vary: Accept-Encoding", "vary: Origin", "x-a: 1"]);
    for enough in ["*", "Accept, origin", "ORIGIN"] {
        let mut response = headers(&[("vary", enough)]);
        listed().dress(&mut response, None);
        assert_eq!(lines(&response), [format!("vary: {enough}")]);
    }
}

#[test]
fn what_everybody_may_read_does_not_vary() {
    let any = cors(Origins::Any);
    let mut response = HeaderMap::new();
    any.dress(&mut response, any.reader(&HeaderMap::new()));
    assert_eq!(
        lines(&response),
        ["access-control-allow-origin: *", "access-control-expose-headers: x-request-id"]
    );
}

#[test]
fn origins_are_written_as_browsers_send_them() {
    for good in [
        APP,
        "http://localhost:3000",
        "https://[::1]:8443",
        "chrome-extension://abcdef",
        "capacitor://localhost",
        "http://xn--bcher-kva.example",
        "https://a_b.example:80",
    ] {
        assert!(is_origin(good), "{good}");
    }
    for bad in [
        "",
        "null",
        "*",
        "app.example",
        "//app.example",
        "://app.example",
        "https://",
        "https://:1",
        "https://app.example/",
        "https://app.example:",
        "https://app.example:443",
        "http://app.example:80",
        "https://App.example",
        "HTTPS://app.example",
        "https://*.example",
        "https://me@app.example",
        "https://app.example?x",
        "https://app.example#x",
        "https://bücher.example",
        "https://app.example https://b.example",
        "https://a.example,https://b.example",
    ] {
        assert!(!is_origin(bad), "{bad}");
    }
}

/// Origins near to those that are listed, and others.
fn near() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "https://app.example",
        "http://localhost:3000",
        "http",
        "https",
        "://",
        "app.example",
        ".",
        "/",
        ":443",
        "null",
        "*",
        "evil",
        " ",
        ",",
        "HTTPS://APP.EXAMPLE",
        "\t",
    ]);
    prop::collection::vec(pieces, 0..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nobody_reads_who_is_not_listed_and_nobody_is_told_twice(
        sent in prop::collection::vec(near(), 0..3),
        said in prop::collection::vec(near(), 0..3),
        family in prop::sample::select(vec!["access-control-allow-origin", "Access-Control-Allow-Credentials", "vary"]),
    ) {
        let mut request = HeaderMap::new();
        for origin in &sent {
            request.append("origin", HeaderValue::from_str(origin).unwrap());
        }
        let mut response = HeaderMap::new();
        for value in &said {
            response.append(family.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let cors = listed();
        cors.dress(&mut response, cors.reader(&request));
        let told: Vec<_> = response.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect();
        let allowed = sent.len() == 1 && ["https://app.example", "http://localhost:3000"].contains(&sent[0].as_str());
        prop_assert_eq!(told.len(), usize::from(allowed));
        prop_assert!(told.iter().all(|told| *told == sent[0].as_str()));
        prop_assert_eq!(response.get_all("access-control-allow-credentials").iter().count(), told.len());
        prop_assert!(super::varies_by_origin(&response));
        let preflight = cors.preflight(&request);
        prop_assert_eq!(preflight.is_some(), allowed);
        prop_assert!(preflight.is_none_or(|answer| answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN] == sent[0].as_str()));
    }
}
