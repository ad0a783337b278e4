//! The only place that knows the crate: a compiled policy, an issuer, requests, and each step of the gateway as one call.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use futures_util::FutureExt as _;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Request, Version};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use sidegate::authn::cache::Bounds;
use sidegate::authn::credential::Carrier;
use sidegate::clock::{Clock, SystemClock, UnixTime};
use sidegate::compile::{World, compile};
use sidegate::config::load::parse;
use sidegate::config::problem::Problems;
use sidegate::facts::Holder;
use sidegate::generation::{Candidate, Generation, Lookup};
use sidegate::headers::forwarded::Provenance;
use sidegate::headers::{CleanHead, Cleaning};
use sidegate::peer::{Peer, Scheme};
use sidegate::policy::{Asking, Permit, Route};
use sidegate::sessions::{Session, Sessions};
use sidegate::target::{PathRules, Target};
use sidegate::telemetry::tally::Tally;
use sidegate::wire::head::Limits;
use sidegate::wire::request::{HeadReader, RequestHead};
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

const ISSUER: &str = "https://issuer.bench.test/";
const AUDIENCE: &str = "bench-api";

/// How long the measured token is; nothing is measured with another one by mistake.
const TOKEN_BYTES: usize = 759;

/// One RSA issuer for all stages: where its key set is, and a token of it.
static ISSUED: LazyLock<(PathBuf, String)> = LazyLock::new(|| {
    let pair: Pkcs8V1Der<'static> = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
    // As PEM, because only that constructor unwraps PKCS #8.
    let pem = STANDARD.encode(pair.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n");
    let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
    public.common.key_id = Some("rsa-1".to_owned());
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("decide-jwks.json");
    std::fs::write(&file, json!({ "keys": [public] }).to_string()).unwrap();
    let header = Header { kid: Some("rsa-1".to_owned()), ..Header::new(Algorithm::RS256) };
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "auth0|user-00000042",
        "iat": SystemClock.now().seconds() - 60, "exp": 4_102_444_800_u64,
        "azp": "client-abcdef0123456789", "scope": "openid profile read:items write:items",
        "roles": ["viewer", "editor", "auditor-eu"], "tenant": "tenant-0123456789-eu1",
    });
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    assert_eq!(token.len(), TOKEN_BYTES, "another token than the one that is meant to be measured");
    (file, token)
});

/// A policy with that many rules, and whoever applies it.
pub struct Stage {
    generation: Generation,
    provenance: Provenance,
    now: UnixTime,
}

/// A request in the making.
pub struct Asked {
    head: Request<()>,
}

/// A request head as it is read from a connection's buffer.
pub fn read(buffer: &mut BytesMut) -> RequestHead {
    let limits = Limits { header_bytes: 32 << 10, headers: 100 };
    HeadReader::new(limits).read(buffer).unwrap().unwrap()
}

/// The canonical spelling of a path, if it is another one.
pub fn canonical(path: &str) -> Option<String> {
    sidegate::target::canonical(path, PathRules::default()).unwrap()
}

impl Stage {
    pub fn new(routes: usize) -> Self {
        let loaded = parse("bench.toml", &configuration(routes), |_| None).unwrap();
        let world =
            World { environment: Arc::new(|_| None), ..World::of_process(Arc::new(SystemClock), false) };
        let mut problems = Problems::default();
        let compiled = compile(&loaded.config, &world, &mut problems);
        let peer =
            Peer { address: Some("192.0.2.7:4711".parse().unwrap()), scheme: Scheme::Http, trusted: false };
        Self {
            generation: compiled.unwrap_or_else(|| panic!("{problems:?}")).generation,
            provenance: Provenance::new(&peer),
            now: SystemClock.now(),
        }
    }

    /// Nobody is known yet.
    pub fn sessions(&self) -> Sessions {
        let bounds = Bounds { signatures: NonZeroU32::new(16).unwrap(), bytes: 1 << 16 };
        let headers = Arc::clone(&self.generation.identity_headers);
        Sessions::new(&self.generation.authenticators, headers, bounds, Arc::new(Tally::default()))
    }

    pub fn target(&self, asked: &Asked) -> Target {
        let head = &asked.head;
        Target::parse(self.generation.paths, head.version(), head.method(), head.uri(), head.headers())
            .unwrap()
    }

    pub fn route(&self, target: &Target) -> (&Lookup, &Route) {
        let (place, route) = self.generation.policy.route(target);
        (self.generation.lookup(place), route)
    }

    pub fn extract<'a>(
        route: &Route,
        lookup: &'a Lookup,
        asked: &'a Asked,
        target: &'a Target,
    ) -> Option<Candidate<'a>> {
        if !route.wants_credential(false).unwrap() {
            return None;
        }
        let headers = asked.head.headers();
        lookup.find(&Carrier { headers, query: target.query(), is_websocket: false }).unwrap()
    }

    /// Good tokens only, with keys at hand: it never waits, but for those who need no signature.
    pub fn authenticate(&self, sessions: &Sessions, candidate: &Candidate<'_>) -> Rc<Session> {
        let (candidates, token) = (&candidate.authenticators, candidate.token());
        if let Some(session) = sessions.known(candidates, token, self.now) {
            return session;
        }
        let judged = sessions.learn(candidates, token, self.now);
        judged.now_or_never().unwrap().map_err(|(_, denial)| denial).unwrap()
    }

    pub fn permit(route: &Route, session: &Session, target: &Target) -> Permit {
        let asking = Asking {
            holder: Some(Holder { identity: &session.identity, facts: None, certificate: None }),
            target,
            client: None,
            claims: session.claims.as_deref(),
            expires: Some(session.ends),
            handshake: None,
            preflight: false,
        };
        route.permit(asking).unwrap()
    }

    pub fn rewrite(&self, head: Parts, target: &Target, session: &Session) -> CleanHead {
        let Parts { method, mut headers, .. } = head;
        for authenticator in &self.generation.authenticators {
            if authenticator.strip_credential {
                authenticator.places.strip_headers(&mut headers);
            }
        }
        let cleaning = Cleaning {
            provenance: &self.provenance,
            host: target.authority().clone(),
            request_id: HeaderValue::from_static("019aa5c2-7a3f-7000-8000-0123456789ab"),
            trace: None,
            identity: Some(&session.headers),
            entitled: None,
            assertion: None,
            certificate: None,
            websocket: false,
        };
        self.generation.hygiene.clean(method, target.path_and_query().clone(), headers, cleaning)
    }

    /// The steps of the gateway in their order.
    pub fn decide(&self, sessions: &Sessions, head: Parts) -> (Permit, CleanHead) {
        let asked = Asked { head: Request::from_parts(head, ()) };
        let target = self.target(&asked);
        let (lookup, route) = self.route(&target);
        let candidate = Self::extract(route, lookup, &asked, &target).unwrap();
        let session = self.authenticate(sessions, &candidate);
        let permit = Self::permit(route, &session, &target);
        drop(candidate);
        (permit, self.rewrite(asked.head.into_parts().0, &target, &session))
    }
}

impl Asked {
    /// The eight fields of a usual GET, a bearer token among them.
    pub fn usual(path: &str) -> Self {
        let head = Request::builder()
            .method(Method::GET)
            .uri(path)
            .version(Version::HTTP_11)
            .header("host", "api.example")
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0")
            .header("accept", "application/json, text/plain, */*")
            .header("accept-language", "en-GB,en;q=0.5")
            .header("accept-encoding", "gzip, deflate, br, zstd")
            .header("authorization", format!("Bearer {}", ISSUED.1))
            .header("cookie", "theme=dark; locale=en_GB")
            .header("connection", "keep-alive");
        Self { head: head.body(()).unwrap() }
    }

    /// The same, and what a client may not say.
    pub fn forged(path: &str) -> Self {
        let mut asked = Self::usual(path);
        for (name, value) in [
            ("x-customer-id", "somebody-else"),
            ("x_customer_id", "somebody-else"),
            ("x-forwarded-for", "10.0.0.1"),
            ("te", "trailers, deflate"),
        ] {
            asked.head.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        asked
    }

    /// The head as the gateway has it.
    pub fn head(&self) -> Parts {
        self.head.clone().into_parts().0
    }

    /// The head as a client sends it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.head.method(), self.head.uri());
        for (name, value) in self.head.headers() {
            write!(text, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

fn configuration(routes: usize) -> String {
    let mut text = format!(
        "
        [upstreams.app]
        url = \"http://127.0.0.1:9\"

        [authenticators.bench]
        kind = \"jwt\"
        issuer = {ISSUER:?}
        audience = {AUDIENCE:?}
        jwks_file = \"{}\"
        algorithms = [\"RS256\"]
        claims.customer_id = \"sub\"

        [identity.headers]
        x-customer-id = \"customer_id\"
        x-customer-roles = \"roles\"

        [policy]
        require.scopes = [\"read:items\"]
        ",
        ISSUED.0.display()
    );
    text.push_str(
        "
            [[routes]]
            path = \"/farms/{id}\"
            require.expression = 'path.id == identity.customer_id || \"editor\" in identity.roles'
        ",
    );
    for route in 0..routes {
        write!(
            text,
            "
            [[routes]]
            path = \"/service-{route}/items/{{id}}\"
            methods = [\"GET\", \"PUT\"]
            require.roles = [\"viewer\"]
            require.any_role = [\"admin\", \"editor\"]
            "
        )
        .unwrap();
    }
    text
}
