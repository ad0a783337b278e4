use super::{ExportTraceServiceRequest, QUEUE, Queue, Settings, SpanFigures};
use crate::outbound::{Answer, HttpClient, HttpError};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers with these statuses in turn, then with the last one; keeps what it got.
#[derive(Debug)]
struct Collector {
    statuses: Mutex<Vec<StatusCode>>,
    rejects: i64,
    got: Mutex<Vec<Request<Bytes>>>,
}

impl Collector {
    fn new(statuses: &[u16], rejects: i64) -> Arc<Self> {
        let statuses = statuses.iter().rev().map(|status| StatusCode::from_u16(*status).unwrap()).collect();
        Arc::new(Self { statuses: Mutex::new(statuses), rejects, got: Mutex::default() })
    }
}

impl HttpClient for Collector {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Answer<'_> {
        self.got.lock().unwrap().push(request);
        let mut statuses = self.statuses.lock().unwrap();
        let status = if statuses.len() > 1 { statuses.pop().unwrap() } else { statuses[0] };
        let partial_success = (self.rejects > 0)
            .then(|| ExportTracePartialSuccess { rejected_spans: self.rejects, ..Default::default() });
        let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        let response = Response::builder().status(status).body(body.into()).unwrap();
        Box::pin(async { Ok::<_, HttpError>(response) })
    }
}

fn settings() -> Settings {
    Settings {
        url: "http://collector/v1/traces".to_owned(),
        authorization: Some("Bearer secret".parse().unwrap()),
        resource: vec![("service.name".to_owned(), "gate".to_owned())],
    }
}

/// Sends `requests` times two spans.
async fn sent(collector: &Arc<Collector>, requests: usize) -> SpanFigures {
    let client: Arc<dyn HttpClient> = Arc::<Collector>::clone(collector);
    let (queue, exporter) = Queue::open(settings(), client);
    for _ in 0..requests {
        queue.push(vec![Span::default(), Span::default()]);
    }
    let running = tokio::spawn(exporter.run());
    queue.flush(Duration::from_secs(60)).await;
    let figures = queue.figures();
    drop(queue);
    running.await.unwrap();
    figures
}

#[tokio::test(start_paused = true)]
async fn spans_are_sent_in_batches_as_whose_they_are() {
    let collector = Collector::new(&[200], 0);
    assert_eq!(sent(&collector, 600).await, SpanFigures { sent: 1200, lost: 0 });
    let got = collector.got.lock().unwrap();
    let sizes: Vec<usize> = got
        .iter()
        .map(|request| {
            assert_eq!(request.headers()["content-type"], "application/x-protobuf");
            assert_eq!(request.headers()["authorization"], "Bearer secret");
            let message = ExportTraceServiceRequest::decode(request.body().clone()).unwrap();
            let from = &message.resource_spans[0];
            assert_eq!(from.resource.as_ref().unwrap().attributes[0].key, "service.name");
            from.scope_spans[0].spans.len()
        })
        .collect();
    assert_eq!(sizes, [512, 512, 176]);
}

#[tokio::test(start_paused = true)]
async fn what_may_be_taken_another_time_is_sent_again() {
    let collector = Collector::new(&[503, 429, 200], 0);
    assert_eq!(sent(&collector, 1).await, SpanFigures { sent: 2, lost: 0 });
    assert_eq!(collector.got.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_counted_as_lost() {
    let refusing = Collector::new(&[400], 0);
    assert_eq!(sent(&refusing, 3).await, SpanFigures { sent: 0, lost: 6 });
    assert_eq!(refusing.got.lock().unwrap().len(), 1);
    let away = Collector::new(&[503], 0);
    assert_eq!(sent(&away, 3).await, SpanFigures { sent: 0, lost: 6 });
    assert_eq!(away.got.lock().unwrap().len(), 3);
    let choosy = Collector::new(&[200], 1);
    assert_eq!(sent(&choosy, 3).await, SpanFigures { sent: 5, lost: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_loses_what_is_new() {
    let collector = Collector::new(&[200], 0);
    let taken = u64::try_from(QUEUE).unwrap() * 2;
    assert_eq!(sent(&collector, QUEUE + 5).await, SpanFigures { sent: taken, lost: 10 });
}
