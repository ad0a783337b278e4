//! Black-box tests: a real gate process, real sockets, judged by what a raw recording service received.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    reason = "a test that overflows, truncates or slices wrongly is a test that fails"
)]
#![allow(clippy::needless_pass_by_value, reason = "tables and builders read better with values")]
#![allow(missing_docs, unreachable_pub, reason = "nobody imports a test binary")]

#[cfg(test)]
mod admin;
#[cfg(test)]
mod api_keys;
#[cfg(test)]
mod assertion;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod authenticate;
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod bypass;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod client_certificates;
#[cfg(test)]
mod closing;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod entitlements;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod expressions;
#[cfg(test)]
mod facade;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod forward;
#[cfg(test)]
mod forwarded;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod keysets;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod notify;
#[cfg(test)]
mod path_settings;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod proxy_protocol;
#[cfg(test)]
mod rate_limits;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod refused_upgrades;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod shadow;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod smuggling;
mod streaming;
#[cfg(test)]
mod streams_http2;
#[cfg(test)]
mod support;
#[cfg(test)]
mod thrift;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod token_commands;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod tunnels;
#[cfg(test)]
mod unix_sockets;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod websocket;
#[cfg(test)]
mod websocket_http2;
#[cfg(test)]
mod websocket_tokens;
