//! Every metric family that sidegate exports is named in this folder and only here.
//!
//! Label values come from the configuration, from fixed tables or from statuses, never from what clients send.

mod encode;
mod process;
mod upkeep;
mod workers;

pub use upkeep::{
    AuthorityFigures, FileFigures, KeyFigures, RedisFigures, ReloadFigures, RevocationFigures, Upkeep,
};

use super::audit::Audit;
use super::sink::Sink;
use super::tally::Tally;
use encode::{counter, family, gauge};
use prometheus::TextEncoder;
use prometheus::proto::MetricType;
use std::sync::{Arc, Mutex, PoisonError};

/// The metrics of one gate.
#[derive(Debug)]
pub struct Metrics {
    workers: Mutex<Vec<Arc<Tally>>>,
    sink: Sink,
    audit: Option<Arc<Audit>>,
    bypass: bool,
}

impl Metrics {
    /// Metrics of a gate that logs to `sink` and has no workers yet; whether it judges nobody, for development.
    #[must_use]
    pub fn new(sink: Sink, audit: Option<Arc<Audit>>, bypass: bool) -> Self {
        Self { workers: Mutex::default(), sink, audit, bypass }
    }

    /// The counters of one more worker.
    #[must_use]
    pub fn worker(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&tally));
        tally
    }

    /// All families in the Prometheus text format.
    #[must_use]
    pub fn render(&self, upkeep: &Upkeep) -> String {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut families = workers::families(&workers);
        families.extend(upkeep::families(upkeep));
        families.extend(process::families());
        families.push(family(
            "sidegate_build_info",
            "The version that is running.",
            MetricType::GAUGE,
            vec![gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1)],
        ));
        families.push(family(
            "sidegate_insecure_bypass",
            "1 when nobody is judged (--insecure-bypass), else 0.",
            MetricType::GAUGE,
            vec![gauge(&[], self.bypass.into())],
        ));
        families.push(family(
            "sidegate_log_lines_lost_total",
            "Log lines that were not written, because the reader or the disk did not keep up, or failed.",
            MetricType::COUNTER,
            std::iter::once(counter(&[("log", "stdout")], self.sink.lost()))
                .chain(self.audit.iter().map(|audit| counter(&[("log", "audit")], audit.lost())))
                .collect(),
        ));
        // The encoder refuses all families when one is empty.
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|left, right| left.name().cmp(right.name()));
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
