use super::context::{Context, TRACEPARENT, TRACESTATE};
use super::export::{Queue, Settings};
use super::{Came, Trace, TraceIds, Tracer};
use crate::outbound::{Answer, HttpClient, HttpError};
use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Nobody;

impl HttpClient for Nobody {
    fn send(&self, _: Request<Bytes>, _: Duration) -> Answer<'_> {
        Box::pin(async { Err(HttpError::Timeout) })
    }
}

fn tracer(one_in: u32) -> Tracer {
    let settings = Settings { url: String::new(), authorization: None, resource: Vec::new() };
    Tracer::new(one_in, Queue::open(settings, Arc::new(Nobody)).0)
}

fn begin(one_in: u32, trusted: bool, headers: &HeaderMap) -> Trace {
    let came = Came { scheme: "http", version: Version::HTTP_11 };
    tracer(one_in).begin(headers, trusted, came, &TraceIds::default())
}

fn sent(flags: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
    headers.insert(TRACEPARENT, parent.parse().unwrap());
    headers.insert(TRACESTATE, "vendor=1".parse().unwrap());
    headers
}

/// What the service gets, of what the client sent.
fn received(trace: &Trace, headers: &HeaderMap) -> (Context, HeaderMap) {
    let mut headers = headers.clone();
    let fields = trace.fields();
    fields.clean(&mut headers);
    assert!(!headers.contains_key(TRACEPARENT));
    let mut told = HeaderMap::new();
    told.insert(TRACEPARENT, fields.into_parent());
    (Context::of(&told).unwrap(), headers)
}

#[test]
fn a_trace_that_is_recorded_goes_on_below_our_span() {
    let headers = sent("01");
    let trace = begin(1, false, &headers);
    let (told, rest) = received(&trace, &headers);
    assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(told.sampled);
    assert_eq!(told.trace, Context::of(&headers).unwrap().trace);
    assert_ne!(told.span, Context::of(&headers).unwrap().span);
    assert_eq!(rest.get(TRACESTATE).unwrap(), "vendor=1");
}

#[test]
fn a_trace_that_nobody_records_passes_as_it_is() {
    let headers = sent("00");
    let trace = begin(1, true, &headers);
    assert!(!trace.is_sampled());
    let (told, rest) = received(&trace, &headers);
    assert_eq!(Some(told), Context::of(&headers));
    assert_eq!(rest.get(TRACESTATE).unwrap(), "vendor=1");
}

#[test]
fn what_is_no_trace_begins_one_without_anybodys_state() {
    let mut headers = sent("01");
    headers.insert(TRACEPARENT, "nonsense".parse().unwrap());
    let trace = begin(1, false, &headers);
    let (told, rest) = received(&trace, &headers);
    assert!(told.sampled);
    assert!(!rest.contains_key(TRACESTATE));
    assert_ne!(trace.id(), begin(1, false, &headers).id());
}

#[test]
fn only_those_who_are_trusted_make_us_record() {
    assert!(begin(0, true, &sent("01")).is_sampled());
    assert!(!begin(0, false, &sent("01")).is_sampled());
    assert!(!begin(0, true, &HeaderMap::new()).is_sampled());
}

#[test]
fn the_share_is_kept_and_depends_on_the_trace_alone() {
    let (tracer, ids) = (tracer(4), TraceIds::default());
    let came = Came { scheme: "http", version: Version::HTTP_11 };
    let recorded = (0..4000)
        .filter(|_| {
            let trace = tracer.begin(&HeaderMap::new(), false, came, &ids);
            assert_eq!(tracer.is_in_share(&trace.id), trace.is_sampled());
            trace.is_sampled()
        })
        .count();
    assert!((850..1150).contains(&recorded), "{recorded}");
}
