//! Measures a call twice: its time with criterion, its allocations with the counting allocator.

use criterion::{BatchSize, Criterion};
use stats_alloc::{Region, Stats, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::SystemTime;

/// Calls over which allocations are averaged: more than one, because caches and buffers grow now and then.
const CALLS: usize = 64;

/// What was measured of one call.
struct Figures {
    name: String,
    allocations: f64,
    bytes: f64,
}

/// Criterion, and the figures that it does not know.
pub struct Bench {
    criterion: Criterion,
    allocator: &'static StatsAlloc<System>,
    begun: SystemTime,
    figures: Vec<Figures>,
}

impl Bench {
    pub fn new(allocator: &'static StatsAlloc<System>) -> Self {
        let criterion = Criterion::default().configure_from_args();
        Self { criterion, allocator, begun: SystemTime::now(), figures: Vec::new() }
    }

    /// Measures a call, and the dropping of what it returns.
    pub fn measure<T>(&mut self, name: &str, mut call: impl FnMut() -> T) {
        self.count(name, || (), |()| call());
        self.criterion.bench_function(name, |bencher| bencher.iter(&mut call));
    }

    /// Measures a call that uses up what `prepare` makes; neither the making of that nor the dropping counts.
    pub fn measure_with<I, T>(
        &mut self,
        name: &str,
        mut prepare: impl FnMut() -> I,
        mut call: impl FnMut(&mut I) -> T,
    ) {
        self.count(name, &mut prepare, &mut call);
        self.criterion.bench_function(name, |bencher| {
            bencher.iter_batched_ref(&mut prepare, &mut call, BatchSize::SmallInput);
        });
    }

    fn count<I, T>(&mut self, name: &str, mut prepare: impl FnMut() -> I, mut call: impl FnMut(&mut I) -> T) {
        drop(black_box(call(&mut prepare())));
        let (mut allocations, mut bytes) = (0, 0);
        for _ in 0..CALLS {
            let mut input = prepare();
            let region = Region::new(self.allocator);
            let output = black_box(call(black_box(&mut input)));
            let change: Stats = region.change();
            drop(output);
            allocations += change.allocations + change.reallocations;
            bytes += change.bytes_allocated;
        }
        let mean = |sum: usize| sum as f64 / CALLS as f64;
        self.figures.push(Figures {
            name: name.to_owned(),
            allocations: mean(allocations),
            bytes: mean(bytes),
        });
    }

    /// Prints the table.
    pub fn finish(self) {
        self.criterion.final_summary();
        println!("\n{:<26} {:>12} {:>12} {:>12}", "one call", "ns", "allocations", "bytes");
        for Figures { name, allocations, bytes } in &self.figures {
            // Without a measured time (a filter, or a run as a test) the allocations are known all the same.
            let time =
                nanoseconds(name, self.begun).map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"));
            println!("{name:<26} {time:>12} {allocations:>12.1} {bytes:>12.1}");
        }
    }
}

/// The estimate that criterion has left behind since then.
fn nanoseconds(name: &str, since: SystemTime) -> Option<f64> {
    let home = std::env::var_os("CRITERION_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("criterion"));
    let file = home.join(name.replace('/', "_")).join("new/estimates.json");
    let written = std::fs::metadata(&file).and_then(|metadata| metadata.modified()).ok()?;
    if written < since {
        return None;
    }
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    estimates.pointer("/mean/point_estimate")?.as_f64()
}
