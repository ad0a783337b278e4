//! THE STRAIGHT LINE: what happens to a request between its head's arrival and its answer.
//!
//! Everything that admits or refuses is called from `Local::admit`, in the order in which it happens. There is
//! one exit for refusals and one finish for the record.

use crate::assertion::claims::Subject;
use crate::authn::cache::Bounds;
use crate::authn::credential::{Carrier, Places};
use crate::clock::UnixTime;
use crate::config::policy::{Access, Mode};
use crate::denial::{Denial, Reason};
use crate::entitle::{Entitled, entitle};
use crate::facts::Holder;
use crate::generation::{Candidate, Generation, Lookup};
use crate::headers::forwarded::{Provenance, X_REQUEST_ID, sent_request_id};
use crate::headers::trusted::Prepared;
use crate::headers::{CleanHead, Cleaning};
use crate::peer::Peer;
use crate::policy::{Asking, Permit, Route, route};
use crate::proxy::forward::{Answer, Forward, Outgoing, ServiceEnd};
use crate::proxy::pool::Pool;
use crate::proxy::request_body::{ClientBody, RequestBody};
use crate::proxy::respond::{self, Style, is_grpc};
use crate::proxy::response_body::ResponseBody;
use crate::proxy::websocket::{Handshake, Upgrade, upgrade};
use crate::sessions::{Session, Sessions};
use crate::target::Target;
use crate::telemetry::record::{Record, Recorder};
use crate::telemetry::tally::{RouteTally, Tally};
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Version};
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What the requests of one client connection have in common.
#[derive(Debug)]
pub struct Via {
    /// The other end.
    pub peer: Peer,
    /// Where its requests come from, as the service is told.
    pub provenance: Provenance,
    /// The tunnel that the connection becomes once its 101 is written.
    pub opening: RefCell<Option<Box<Opening>>>,
}

/// A tunnel about to open.
#[derive(Debug)]
pub struct Opening {
    /// The other end.
    pub service: Box<ServiceEnd>,
    /// When the token that opened it is not good any more.
    pub until: Option<Instant>,
    /// The handshake's record; it ends with the tunnel.
    pub record: Record,
}

/// One worker's gateway.
#[derive(Debug)]
pub struct Gateway {
    local: RefCell<Rc<Local>>,
    recorder: Rc<Recorder>,
}

impl Gateway {
    /// A gateway that judges by `generation`.
    #[must_use]
    pub fn new(generation: Arc<Generation>, recorder: Rc<Recorder>, sessions: Bounds) -> Self {
        let local = Local::new(generation, &recorder, sessions);
        Self { local: RefCell::new(Rc::new(local)), recorder }
    }

    /// What this worker records with.
    #[must_use]
    pub fn recorder(&self) -> &Rc<Recorder> {
        &self.recorder
    }

    /// The configuration that requests arriving now are judged by.
    #[must_use]
    pub fn snapshot(&self) -> Rc<Local> {
        Rc::clone(&self.local.borrow())
    }

    /// Answers a request: with the service's response, or with a refusal.
    pub async fn handle(&self, via: &Via, request: Request<ClientBody>) -> Response<ResponseBody> {
        let local = self.snapshot();
        let mut record = self.begin(&local, via, request.method(), request.headers());
        record.sent_for(request.uri());
        let style = local.style(request.version(), request.headers());
        let reader = local.reader(request.headers());
        match local.serve(via, request, &mut record).await {
            Ok(Served::Response(response)) => local.share(local.finish(response, record), reader),
            Ok(Served::Preflight(response)) => local.finish(response, record),
            Ok(Served::Tunnel(mut response, service, until)) => {
                local.dress(&mut response, &mut record);
                *via.opening.borrow_mut() = Some(Box::new(Opening { service, until, record }));
                response
            }
            Err(denial) => {
                record.denied(&denial);
                let response = respond::denied(&denial, style);
                record.status(denial.reason().status());
                let (head, body) = response.into_parts();
                local.share(local.finish(Response::from_parts(head, ResponseBody::own(body)), record), reader)
            }
        }
    }

    /// Refuses a head that never became a request, and returns the answer for the wire.
    #[must_use]
    pub fn refuse_head(&self, via: &Via, denial: &Denial) -> Vec<u8> {
        let local = self.snapshot();
        let headers = HeaderMap::new();
        let mut record = self.begin(&local, via, &Method::default(), &headers);
        record.unread();
        record.denied(denial);
        record.status(denial.reason().status());
        let mut fields = local.generation.response_headers.clone();
        fields.insert(X_REQUEST_ID, record.request_id().clone());
        if let Some(cors) = &local.generation.cors {
            cors.dress(&mut fields, cors.reader(&headers));
        }
        let (answer, body) = respond::raw(denial, local.generation.denial_body, &fields);
        record.sent(body);
        answer
    }

    fn begin(&self, local: &Local, via: &Via, method: &Method, headers: &HeaderMap) -> Record {
        let now = self.recorder.clock.now();
        let sent = if via.peer.trusted { sent_request_id(headers) } else { None };
        let id = sent.unwrap_or_else(|| self.recorder.ids.next(now));
        let mut record = Record::start(&self.recorder, method.clone(), id, now);
        record.client(via.provenance.client(headers, |address| local.generation.trusts(address)));
        record
    }
}

/// What becomes of a request that is not refused.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every request is forwarded, and a box would be one more allocation"
)]
enum Course {
    /// We answer it ourselves.
    Preflight(Response<ResponseBody>),
    /// The service does.
    Forward(Admitted),
}

/// A request that may go on, and what its answer depends on.
struct Admitted {
    outgoing: Outgoing,
    manner: Manner,
    /// The subprotocol that stood in front of a token.
    word: Option<HeaderValue>,
    /// Whether the rule is in shadow mode.
    shadow: bool,
}

/// What a request that was let through led to.
enum Served {
    Response(Response<ResponseBody>),
    /// An answer of ours; no service was asked.
    Preflight(Response<ResponseBody>),
    Tunnel(Response<ResponseBody>, Box<ServiceEnd>, Option<Instant>),
}

impl Served {
    /// Whether the service let the request pass, by its own judgement.
    fn is_admitted(&self) -> bool {
        match self {
            Self::Response(response) => !respond::is_refusal(response.status(), response.headers()),
            Self::Preflight(_) | Self::Tunnel(..) => true,
        }
    }
}

/// One worker's own part of a generation: what it has verified, its connections, its counters.
#[derive(Debug)]
pub struct Local {
    generation: Arc<Generation>,
    sessions: Sessions,
    forward: Forward,
    tally: Arc<Tally>,
    tallies: Vec<Arc<RouteTally>>,
}

impl Local {
    fn new(generation: Arc<Generation>, recorder: &Recorder, sessions: Bounds) -> Self {
        let tally = &recorder.tally;
        let headers = Arc::clone(&generation.identity_headers);
        Self {
            sessions: Sessions::new(&generation.authenticators, headers, sessions, Arc::clone(tally))
                .with_assertions(generation.assertions.clone()),
            forward: Forward::new(
                generation
                    .upstreams
                    .iter()
                    .map(|upstream| Pool::new(Arc::clone(upstream), tally.upstream(&upstream.name)))
                    .collect(),
            ),
            tally: Arc::clone(tally),
            tallies: generation.policy.routes().map(|route| tally.route(&route.name)).collect(),
            generation,
        }
    }

    /// Closes connections to services that nobody has used for long, and forgets tokens that nobody sends any more.
    pub fn purge(&self, now: UnixTime) {
        self.forward.pools().iter().for_each(|pool| pool.purge());
        self.sessions.purge(now);
    }

    async fn serve(
        &self,
        via: &Via,
        request: Request<ClientBody>,
        record: &mut Record,
    ) -> Result<Served, Denial> {
        let Admitted { outgoing, manner, word, shadow } = match self.admit(via, request, record).await? {
            Course::Forward(admitted) => admitted,
            Course::Preflight(response) => return Ok(Served::Preflight(response)),
        };
        let served = match manner {
            Manner::Plain | Manner::Preflight => {
                self.forward.send(outgoing, record).await.map(Served::Response)?
            }
            Manner::WebSocket(handshake) => {
                let until = outgoing.permit.tunnel_until();
                let answer = Box::pin(self.forward.open(outgoing, &handshake, record)).await?;
                upgraded(answer, until, word, record.at())
            }
        };
        if shadow {
            record.compare(served.is_admitted());
        }
        Ok(served)
    }

    /// Everything that admits or refuses, in the order in which it happens.
    async fn admit(
        &self,
        via: &Via,
        request: Request<ClientBody>,
        record: &mut Record,
    ) -> Result<Course, Denial> {
        let (head, body) = request.into_parts();
        let target = self.target(&head, record)?;
        let (lookup, route) = self.route(&target, record);
        let manner = Manner::of(&head, &body)?;
        if let Some(response) = self.preflight(route, &manner, &head.headers) {
            record.allowed();
            return Ok(Course::Preflight(response));
        }
        let asked = Asked { head: &head, target: &target, manner: &manner, client: record.address() };
        let mut known = Judged::default();
        let permit = match self.judge(route, lookup, &asked, &mut known, record).await {
            Ok(permit) => {
                record.allowed();
                permit
            }
            Err(denial) => {
                let (permit, denial) = route.pass_in_shadow(denial)?;
                record.would_deny(&denial);
                permit
            }
        };
        let Judged { session, entitled, word } = known;
        let body = self.body(body)?;
        let told = Told {
            host: target.authority().clone(),
            path: route.rewritten(&target)?,
            session: session.as_deref(),
            entitled,
            websocket: manner.is_websocket(),
            word: word.is_some(),
        };
        let head = self.rewrite(via, head, told, record)?;
        let shadow = route.mode == Mode::Shadow;
        Ok(Course::Forward(Admitted { outgoing: Outgoing { permit, head, body }, manner, word, shadow }))
    }

    /// Who is asking, what is known about them, and whether that suffices. What was found out stays in `known`, also when
    /// the request is refused.
    async fn judge(
        &self,
        route: &Route,
        lookup: &Lookup,
        asked: &Asked<'_>,
        known: &mut Judged,
        record: &mut Record,
    ) -> Result<Permit, Denial> {
        if asked.manner.is_preflight() && self.generation.cors.is_some() && route.access != Access::Deny {
            // The others were answered already.
            return Err(Denial::new(Reason::OriginRefused));
        }
        if let Some(bypass) = self.generation.bypass {
            return route.pass_in_bypass(bypass);
        }
        let credential = extract(route, lookup, asked)?;
        known.word = credential.as_ref().and_then(Candidate::subprotocol);
        let session = self.authenticate(credential.as_ref(), record).await?;
        known.session.clone_from(&session);
        let facts = self.entitle(route, session.as_ref(), record).await?;
        let facts = facts.as_deref().map(|answer| &answer.value);
        let holder = session.as_deref().map(|session| Holder { identity: &session.identity, facts });
        let permit = permit(route, holder, session.as_deref(), asked)?;
        known.entitled = self.prepare_entitled(holder)?;
        Ok(permit)
    }

    /// The answer to a preflight, if we give one: only with `[cors]`, only to origins that it names, and not where nobody is
    /// let in.
    fn preflight(
        &self,
        route: &Route,
        manner: &Manner,
        headers: &HeaderMap,
    ) -> Option<Response<ResponseBody>> {
        let cors = self.generation.cors.as_ref()?;
        if !manner.is_preflight() || route.access == Access::Deny {
            return None;
        }
        cors.preflight(headers, ResponseBody::empty())
    }

    /// The only form of host and path that there is from here on.
    fn target(&self, head: &Parts, record: &mut Record) -> Result<Target, Denial> {
        if head.headers.len() > self.generation.headers {
            return Err(Denial::new(Reason::HeadTooLarge));
        }
        let target =
            Target::parse(self.generation.paths, head.version, &head.method, &head.uri, &head.headers)?;
        record.target(&target);
        Ok(target)
    }

    /// The rule that holds, and where its credentials are looked for.
    fn route(&self, target: &Target, record: &mut Record) -> (&Lookup, &Route) {
        let (place, route) = self.generation.policy.route(target);
        if let Some(tally) = self.tallies.get(place) {
            record.route(tally);
        }
        (self.generation.lookup(place), route)
    }

    async fn authenticate(
        &self,
        candidate: Option<&Candidate<'_>>,
        record: &mut Record,
    ) -> Result<Option<Rc<Session>>, Denial> {
        let Some(candidate) = candidate else { return Ok(None) };
        let judged = self
            .sessions
            .authenticate(&candidate.authenticators, candidate.token(), record.at(), record.address())
            .await;
        let authenticator = match &judged {
            Ok(session) => session.authenticator,
            Err((authenticator, _)) => *authenticator,
        };
        if let Some(authenticator) = self.generation.authenticators.get(authenticator) {
            record.authenticator(&authenticator.name);
        }
        let session = judged.map_err(|(_, denial)| denial)?;
        record.identified(&session.identity, &session.subject);
        Ok(Some(session))
    }

    /// What is known about the customer besides the token, where the rule or a header asks for it.
    async fn entitle(
        &self,
        route: &Route,
        session: Option<&Rc<Session>>,
        record: &Record,
    ) -> Result<Entitled, Denial> {
        match (&self.generation.entitlements, session) {
            (Some(entitlements), Some(session)) if route.entitled => {
                Box::pin(entitle(entitlements, session, record.at(), &self.tally)).await
            }
            _ => Ok(None),
        }
    }

    /// The header fields in which facts have a part; they are made for each request.
    fn prepare_entitled(&self, holder: Option<Holder<'_>>) -> Result<Option<Prepared>, Denial> {
        let headers = &self.generation.identity_headers;
        let Some(holder) = holder.filter(|_| headers.take_facts()) else { return Ok(None) };
        let fields = headers.prepare_entitled(&holder).map_err(|(attribute, unfit)| {
            Denial::new(Reason::TokenClaim).because(format_args!("the attribute {attribute} {unfit}"))
        })?;
        Ok(Some(fields))
    }

    fn body(&self, body: ClientBody) -> Result<RequestBody, Denial> {
        let body = RequestBody::new(body, self.generation.body_bytes, Arc::clone(&self.generation.hygiene));
        if body.is_too_large() { Err(Denial::new(Reason::BodyTooLarge)) } else { Ok(body) }
    }

    /// Takes the credential out where it must not go on, strips what a client may not say, sets what we say.
    fn rewrite(&self, via: &Via, head: Parts, told: Told<'_>, record: &Record) -> Result<CleanHead, Denial> {
        let Parts { method, mut headers, .. } = head;
        let mut path = told.path;
        for authenticator in &self.generation.authenticators {
            if authenticator.strip_credential {
                authenticator.places.strip_headers(&mut headers);
                path = without_credential(path, &authenticator.places, told.websocket)?;
            }
            if told.word {
                authenticator.places.strip_subprotocol(&mut headers);
            }
        }
        let cleaning = Cleaning {
            provenance: &via.provenance,
            host: told.host,
            request_id: record.request_id().clone(),
            identity: told.session.map(|session| &session.headers),
            entitled: told.entitled,
            assertion: self.assert(told.session, record.at())?,
            websocket: told.websocket,
        };
        Ok(self.generation.hygiene.clean(method, path, headers, cleaning))
    }

    /// The signed word about who is asking, where services want one.
    fn assert(&self, session: Option<&Session>, now: UnixTime) -> Result<Option<Prepared>, Denial> {
        let (Some(assertions), Some(session)) = (&self.generation.assertions, session) else {
            return Ok(None);
        };
        let subject = Subject { name: &session.subject, identity: &session.identity, ends: session.ends };
        let asserted = assertions.assert(&subject, &session.known.assertion, now);
        asserted.map(Some).map_err(|unsigned| Denial::new(Reason::AuthorityUnavailable).because(unsigned))
    }

    fn style(&self, version: Version, headers: &HeaderMap) -> Style {
        Style { body: self.generation.denial_body, grpc: is_grpc(headers), http1: version < Version::HTTP_2 }
    }

    /// The origin that may read the answer to a request; with `[cors]` only.
    fn reader(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        self.generation.cors.as_ref().and_then(|cors| cors.reader(headers))
    }

    /// Tells the browser who may read a response; without `[cors]` that is the service's own business.
    fn share(
        &self,
        mut response: Response<ResponseBody>,
        reader: Option<HeaderValue>,
    ) -> Response<ResponseBody> {
        if let Some(cors) = &self.generation.cors {
            cors.dress(response.headers_mut(), reader);
        }
        response
    }

    /// The head as the client gets it, the body tied to its record.
    fn finish(&self, mut response: Response<ResponseBody>, mut record: Record) -> Response<ResponseBody> {
        self.dress(&mut response, &mut record);
        response.body_mut().keep(record);
        response
    }

    /// Sets what every response has from us.
    fn dress(&self, response: &mut Response<ResponseBody>, record: &mut Record) {
        record.status(response.status());
        let headers = response.headers_mut();
        for (name, value) in &self.generation.response_headers {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(X_REQUEST_ID, record.request_id().clone());
    }
}

/// What the service is told, and what is kept from it.
#[derive(Debug)]
struct Told<'a> {
    host: HeaderValue,
    path: PathAndQuery,
    session: Option<&'a Session>,
    /// Header fields that were made for this request.
    entitled: Option<Prepared>,
    websocket: bool,
    /// Whether the token came as a subprotocol, which is never forwarded.
    word: bool,
}

/// The manner of a request, where it changes how it is judged.
#[derive(Debug)]
enum Manner {
    Plain,
    /// A CORS preflight (Fetch §4.8): OPTIONS with an origin and the method it asks about, and no body.
    Preflight,
    WebSocket(Handshake),
}

impl Manner {
    fn of(head: &Parts, body: &ClientBody) -> Result<Self, Denial> {
        match upgrade(&head.method, head.version, &head.headers) {
            Upgrade::WebSocket(handshake) => return Ok(Self::WebSocket(handshake)),
            Upgrade::Malformed => {
                return Err(Denial::new(Reason::HeadMalformed).detail("The WebSocket handshake is malformed"));
            }
            Upgrade::None => {}
        }
        let preflight = head.method == Method::OPTIONS
            && head.headers.contains_key(ORIGIN)
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && body.is_end_stream();
        Ok(if preflight { Self::Preflight } else { Self::Plain })
    }

    const fn is_websocket(&self) -> bool {
        matches!(self, Self::WebSocket(_))
    }

    const fn is_preflight(&self) -> bool {
        matches!(self, Self::Preflight)
    }
}

/// What a request says of itself, as it is judged.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    head: &'a Parts,
    target: &'a Target,
    manner: &'a Manner,
    client: Option<IpAddr>,
}

/// What was found out about a request while it was judged.
#[derive(Debug, Default)]
struct Judged {
    session: Option<Rc<Session>>,
    /// Header fields that were made for this request.
    entitled: Option<Prepared>,
    /// The subprotocol that stood in front of a token.
    word: Option<HeaderValue>,
}

/// Finds the credential, if the rule wants one.
fn extract<'a>(
    route: &Route,
    lookup: &'a Lookup,
    asked: &Asked<'a>,
) -> Result<Option<Candidate<'a>>, Denial> {
    if !route.wants_credential(asked.manner.is_preflight())? {
        return Ok(None);
    }
    lookup.find(&Carrier {
        headers: &asked.head.headers,
        query: asked.target.query(),
        is_websocket: asked.manner.is_websocket(),
    })
}

/// The origin of a handshake; two are none.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut origins = headers.get_all(ORIGIN).iter();
    origins.next().filter(|_| origins.next().is_none()).and_then(|origin| origin.to_str().ok())
}

/// Judges; pure.
fn permit(
    route: &Route,
    holder: Option<Holder<'_>>,
    session: Option<&Session>,
    asked: &Asked<'_>,
) -> Result<Permit, Denial> {
    let handshake = || route::Handshake { origin: origin(&asked.head.headers) };
    route.permit(Asking {
        holder,
        expires: session.map(|session| session.ends),
        handshake: asked.manner.is_websocket().then(handshake),
        preflight: asked.manner.is_preflight(),
    })
}

fn without_credential(path: PathAndQuery, places: &Places, websocket: bool) -> Result<PathAndQuery, Denial> {
    let Some(query) = path.query() else { return Ok(path) };
    let whole = match places.strip_query(query, websocket) {
        Some(Cow::Borrowed(_)) => return Ok(path),
        Some(Cow::Owned(rest)) => format!("{}?{rest}", path.path()),
        None => path.path().to_owned(),
    };
    PathAndQuery::try_from(whole).map_err(|_| Denial::new(Reason::PathRefused))
}

/// The service's answer to a handshake.
///
/// A browser that offered a subprotocol fails when none is selected, and its token was the offer: the word in
/// front of it is selected in the service's stead.
fn upgraded(answer: Answer, until: Option<UnixTime>, word: Option<HeaderValue>, now: UnixTime) -> Served {
    let (mut response, service) = match answer {
        Answer::Response(response) => return Served::Response(response),
        Answer::Tunnel(response, service) => (response, service),
    };
    let headers = response.headers_mut();
    if let (Some(word), false) = (word, headers.contains_key(SEC_WEBSOCKET_PROTOCOL)) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, word);
    }
    let until = until.and_then(|end| Instant::now().checked_add(now.until(end)));
    Served::Tunnel(response, service, until)
}
