//! `[tracing]` → a tracer, and whoever sends its spans.

use super::World;
use super::secrets::Sources;
use crate::config::Config;
use crate::config::problem::{KeyPath, Problems};
use crate::config::tracing::Tracing as Written;
use crate::outbound::{HttpClient, is_http};
use crate::standing::{Fingerprint, Running};
use crate::telemetry::tracing::Tracer;
use crate::telemetry::tracing::export::{Queue, Settings};
use http::{HeaderValue, Uri};
use std::sync::Arc;

/// Where OTLP over HTTP takes spans (OTLP specification, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// The port of OTLP over gRPC.
const GRPC_PORT: u16 = 4317;

/// A tracer that sends nothing yet.
pub(super) struct Draft {
    one_in: u32,
    settings: Settings,
    made_of: Fingerprint,
}

pub(super) fn draft(config: &Config, world: &World, problems: &mut Problems) -> Option<Draft> {
    let written = config.tracing.as_ref()?;
    let at = KeyPath::root("tracing");
    let sources = Sources {
        name: "token",
        variable: written.token_env.as_deref(),
        file: written.token_file.as_deref(),
    };
    let authorization = sources.bearer(&at, world, problems);
    let url = url(written, &at, problems)?;
    let bearer = authorization.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
    let made_of = Fingerprint::of(written).and(bearer);
    let name = ("service.name".to_owned(), written.service_name.clone());
    let others = written.attributes.iter().filter(|(key, _)| *key != "service.name");
    let others = others.map(|(key, value)| (key.clone(), value.clone()));
    let resource = std::iter::once(name).chain(others).collect();
    let settings = Settings { url, authorization, resource };
    Some(Draft { one_in: written.sample_one_in, settings, made_of })
}

/// The whole URL.
fn url(written: &Written, at: &KeyPath, problems: &mut Problems) -> Option<String> {
    let at = at.key("otlp_endpoint");
    let endpoint = written.otlp_endpoint.trim_end_matches('/');
    let parsed: Option<Uri> = endpoint.parse().ok().filter(|_| is_http(endpoint));
    let Some(parsed) = parsed else {
        let hint = "write \"http://127.0.0.1:4318\"; a password belongs in token_env or token_file";
        problems.error(at, "it is no http or https URL", hint);
        return None;
    };
    if parsed.query().is_some() {
        problems.error(at, "it has a query", "name the collector only");
        return None;
    }
    if parsed.port_u16() == Some(GRPC_PORT) {
        let hint = "name its port for OTLP over HTTP, mostly 4318";
        problems.warning(at, "collectors speak gRPC at port 4317, and sidegate does not", hint);
    }
    Some(if endpoint.ends_with(PATH) { endpoint.to_owned() } else { format!("{endpoint}{PATH}") })
}

impl Draft {
    /// Makes it, or hands on the one that there was.
    pub(super) fn open(self, client: Arc<dyn HttpClient>, world: &World) -> Arc<Tracer> {
        let make = || {
            let (queue, exporter) = Queue::open(self.settings, client);
            // It ends by itself when the queue is gone, and not before everything in there was sent.
            let running: Running = Box::pin(async { drop(tokio::spawn(exporter.run())) });
            (Arc::new(Tracer::new(self.one_in, queue)), Some(running))
        };
        world.making.keep_always("tracing", self.made_of, make).value
    }
}
