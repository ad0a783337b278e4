# The recipes that developers run. Most are steps of .ci/run, so that CI runs the same.

# What there is.
default:
    @just --list --unsorted

# Everything that must hold before a commit: format, lints, tests (doc tests too), dependencies.
check:
    .ci/run fmt clippy test deny

# What CI runs, in its order.
ci:
    .ci/run

# An issuer, a service and the gate in one process, with curl lines to try.
demo *arguments:
    cargo run --release -- demo {{ arguments }}

# All tests, or those whose name contains a word: `just test headers`.
test *arguments:
    cargo test --locked {{ arguments }}

# The documentation: rustdoc without warnings, links, and the TOML that readers copy.
docs:
    .ci/run docs links names versions snippets

# Dockerfile, compose and Kubernetes files.
deploy:
    .ci/run deploy

# Licenses, bans and sources of the dependencies (needs cargo-deny).
deny:
    .ci/run deny

# Known vulnerabilities of the dependencies (needs cargo-deny and the network).
advisories:
    cargo deny --locked check advisories

# Nanoseconds and allocations of the pure parts of a request: `just bench -- --quick`.
bench *arguments:
    cargo bench --locked --bench decide {{ arguments }}

# Instructions by request against the recorded figures (needs valgrind): `just instructions --record`.
instructions *arguments:
    cargo build --locked --release
    benches/instructions/check.py {{ arguments }}

# The gate beside nginx, HAProxy and Envoy on this machine (benches/peers/README.md).
peers *arguments:
    benches/peers/run {{ arguments }}

# The gate between real peers (tests/interop/README.md): `just interop service grpc`.
interop *arguments:
    cargo build --locked --release
    tests/interop/run {{ arguments }}

# The container image.
image:
    docker build --tag sidegate:0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
