//! sidegate: an authentication sidecar, a reverse proxy in front of one unmodified service or a few of them.
//!
//! # The life of a request
//!
//! 1. A [`worker`] accepts a connection. Workers are threads with a runtime, connections and caches of their own;
//!    nothing on the way of a request waits for another one. A control thread does everything slow: it fetches
//!    keys, answers probes ([`admin`]) and ends the process in order ([`app`], [`shutdown`]).
//! 2. The [`listener`] speaks TLS and HTTP. HTTP/1.1 is read by [`wire`], which lets no head pass that two readers could
//!    read in two ways.
//! 3. The [`gateway`] is the straight line, and [`decide`] the part of it that admits or refuses. It makes a
//!    [`target::Target`] of the head, the only form of host and path there is from then on, and finds the rule of the
//!    [`policy`].
//! 4. The rule's authenticators ([`authn`]) find the credential; [`sessions`] knows what was verified already, or verifies, and looks
//!    whether it was revoked since ([`revocation`]).
//! 5. Where the rule asks for what the token does not say, [`entitle`] knows it or asks ([`entitlements`], [`inquiry`]).
//! 6. The rule gives a [`policy::Permit`], or the request ends here with a [`denial::Denial`]. Facts are cached, verdicts never.
//! 7. [`headers`] strips what a client may not say and sets what we say: a [`headers::CleanHead`]; [`assertion`] signs it.
//! 8. [`proxy::forward`] takes permit and clean head, and nothing else can be forwarded. A WebSocket becomes a
//!    [`proxy::tunnel`] after the service's own 101.
//!    What outlives its credential holds a lease ([`leases`]) and ends with it.
//! 9. When the response has ended, its [`telemetry::record`] is counted and logged, once, and sent to a collector where it is part of a trace.
//!
//! All of this is judged by one [`generation`], which [`compile`] makes of a [`config`].

pub mod admin;
pub mod allowance;
pub mod app;
pub mod assertion;
pub mod authn;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod compile;
pub mod config;
pub mod console;
pub mod decide;
pub mod denial;
pub mod descriptors;
pub mod entitle;
pub mod entitlements;
pub mod explain;
pub mod facade;
pub mod facts;
pub mod footprint;
pub mod gateway;
pub mod generation;
pub mod headers;
pub mod hex;
pub mod identity;
pub mod inquiry;
pub mod json;
pub mod leases;
pub mod listener;
pub mod local_http;
pub mod notify;
pub mod outbound;
pub mod peer;
pub mod pem;
pub mod policy;
pub mod proxy;
pub mod quotas;
pub mod random;
pub mod rates;
pub mod redis;
pub mod reload;
pub mod request_id;
pub mod revocation;
pub mod revoking;
pub mod secret;
pub mod server_tls;
pub mod sessions;
pub mod shutdown;
pub mod single;
pub mod stamp;
pub mod standing;
pub mod stream;
pub mod target;
pub mod telemetry;
pub mod trial;
pub mod wire;
pub mod worker;
