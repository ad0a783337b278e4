//! The operational log: what happens to the process, one line an event.

use super::sink::Sink;
use crate::config::log::{Log, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;

/// Sends all `tracing` events of this process to `sink`, as `[log]` says.
///
/// Only the first call of a process counts; tests and the demo may start several gates.
pub fn install(log: &Log, sink: &Sink) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(sink.clone()).with_ansi(false);
    // An error means that a subscriber is installed already.
    drop(match log.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Pretty => builder.compact().try_init(),
    });
}
