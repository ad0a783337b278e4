//! The decision about a request, in the order in which it is made: what it is aimed at, which rule holds, who is asking,
//! what is known about them, whether that suffices, and the head that the service gets.
//!
//! There is no other order anywhere. The gateway decides like this on what it verifies, `sidegate explain` and `sidegate
//! test` on what they are told. Whoever is asked on the way is a [`Witness`], and whoever looks on an [`Observer`].

mod manner;
mod observer;
mod outgoing;
mod witness;

pub use manner::Manner;
pub use observer::Observer;
pub use witness::{Authorities, Witness};

use crate::authn::credential::Carrier;
use crate::certificate::{self, Certificate};
use crate::clock::UnixTime;
use crate::config::policy::Mode;
use crate::denial::{Denial, Reason};
use crate::entitle::Entitled;
use crate::facts::{Facts, Holder};
use crate::generation::{Candidate, Generation, Lookup};
use crate::headers::forwarded::Provenance;
use crate::headers::trusted::Prepared;
use crate::headers::{CleanHead, Cleaning};
use crate::policy::rate::Asker;
use crate::policy::{Asking, Permit, Route, route};
use crate::sessions::Session;
use crate::single::single;
use crate::target::Target;
use crate::telemetry::tracing::TraceFields;
use http::header::{HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Response, Version};
use outgoing::{assert, prepare_entitled, rewrite};
use std::net::IpAddr;
use std::rc::Rc;

/// A request as it has arrived.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Its head; whoever decides takes out of it what the service gets.
    pub head: &'a mut Parts,
    /// Whether it has no body.
    pub is_empty: bool,
    /// Where it came from, as the service is told.
    pub provenance: &'a Provenance,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The client's certificate, where it has shown one.
    pub certificate: Option<&'a Certificate>,
    /// When the head had arrived.
    pub at: UnixTime,
    /// Its id.
    pub request_id: HeaderValue,
    /// What the service is told of the trace that it is part of.
    pub trace: Option<TraceFields>,
}

/// A request that may go on, and what its answer depends on.
#[derive(Debug)]
pub struct Decision {
    /// Leave to forward it.
    pub permit: Permit,
    /// What the service gets.
    pub head: CleanHead,
    /// Its manner.
    pub manner: Manner,
    /// The subprotocol that stood in front of a token.
    pub word: Option<HeaderValue>,
    /// The answer to a preflight, where it is ours: then nobody else is asked.
    pub preflight: Option<Box<Response<()>>>,
    /// Whether the rule is in shadow mode.
    pub shadow: bool,
    /// Who is asking, if that was found out.
    pub session: Option<Rc<Session>>,
}

/// Decides.
///
/// # Errors
/// Every reason for which a request is refused before it is forwarded, but for the size of its body.
pub async fn decide(
    generation: &Generation,
    witness: &impl Witness,
    arrival: Arrival<'_>,
    observer: &mut impl Observer,
) -> Result<Decision, Denial> {
    let Arrival { head, is_empty, provenance, client, certificate, at, request_id, trace } = arrival;
    let target = target(generation, head)?;
    observer.target(&target);
    let (place, route) = generation.policy.route(&target);
    observer.route(place, route);
    let manner = Manner::of(head, is_empty)?;
    observer.manner(&manner);
    let asked = Asked { head, target: &target, manner: &manner, client, certificate, at };
    let mut known = Judged::default();
    let permit = match judge(generation, witness, (place, route), &asked, (&mut known, observer)).await {
        Ok(permit) => {
            observer.allowed();
            permit
        }
        Err(denial) => {
            let (permit, denial) = route.pass_in_shadow(denial)?;
            observer.would_deny(&denial);
            permit
        }
    };
    let Judged { session, entitled, certificate, word, preflight } = known;
    let path = route.rewritten(&target)?;
    let cleaning = Cleaning {
        provenance,
        host: target.authority().clone(),
        request_id,
        trace,
        identity: session.as_deref().map(|session| &session.headers),
        entitled,
        assertion: assert(generation, session.as_deref(), at)?,
        certificate,
        websocket: manner.is_websocket(),
    };
    let head = rewrite(generation, head, path, word.is_some(), cleaning)?;
    let shadow = route.mode == Mode::Shadow;
    Ok(Decision { permit, head, manner, word, preflight, shadow, session })
}

/// What a request says of itself, as it is judged.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    head: &'a Parts,
    target: &'a Target,
    manner: &'a Manner,
    client: Option<IpAddr>,
    certificate: Option<&'a Certificate>,
    at: UnixTime,
}

/// What was found out about a request while it was judged.
#[derive(Debug, Default)]
struct Judged {
    session: Option<Rc<Session>>,
    /// Header fields that were made for this request.
    entitled: Option<Prepared>,
    /// Header fields about the client's certificate.
    certificate: Option<Prepared>,
    /// The subprotocol that stood in front of a token.
    word: Option<HeaderValue>,
    /// Our answer to a preflight.
    preflight: Option<Box<Response<()>>>,
}

/// Who is asking, what is known about them, and whether that suffices. What was found out stays in `known`, also when
/// the request is refused.
async fn judge(
    generation: &Generation,
    witness: &impl Witness,
    (place, route): (usize, &Route),
    asked: &Asked<'_>,
    (known, observer): (&mut Judged, &mut impl Observer),
) -> Result<Permit, Denial> {
    if let Some(bypass) = generation.bypass {
        let permit = route.pass_in_bypass(bypass)?;
        known.preflight = preflight(generation, asked)?;
        return Ok(permit);
    }
    limit(witness, route, (Stage::Early, asked), observer).await?;
    if route.wants_credential(asked.manner.is_preflight())? {
        let credential = extract(generation.lookup(place), asked)?;
        observer.credential(credential.as_ref());
        known.word = credential.as_ref().and_then(Candidate::subprotocol);
        known.session = authenticate(witness, (route, credential.as_ref()), asked, observer).await?;
    }
    let entitled = match &known.session {
        Some(session) if route.entitled => {
            let asking = asking(Some(session), None, asked);
            route.check_before_facts(&asking).inspect_err(|_| observer.asking(route, &asking))?;
            learn(witness, session, asked.at, observer).await?
        }
        Some(_) | None => None,
    };
    let facts = entitled.as_deref().map(|answer| &answer.value);
    let asking = asking(known.session.as_deref(), facts, asked);
    known.entitled = prepare_entitled(generation, asking.holder)?;
    if generation.tells_certificate {
        let about = (asked.at, asking.holder.is_some());
        known.certificate = certificate::fields(asked.certificate, &generation.identity_headers, about)?;
    }
    observer.asking(route, &asking);
    let permit = route.permit(asking)?;
    limit(witness, route, (Stage::Permitted(known.session.as_deref()), asked), observer).await?;
    known.preflight = preflight(generation, asked)?;
    Ok(permit)
}

/// When limits are charged.
#[derive(Clone, Copy, Debug)]
enum Stage<'a> {
    /// Before anybody is asked who is asking.
    Early,
    /// Once the rule has let the request pass; with the session if there is one.
    Permitted(Option<&'a Session>),
}

/// Counts the request against the rule's limits: by address before anybody is asked who is asking, so that guesses count; all
/// others, with the session if there is one, only once the rule has let it pass.
async fn limit(
    witness: &impl Witness,
    route: &Route,
    (stage, asked): (Stage<'_>, &Asked<'_>),
    observer: &mut impl Observer,
) -> Result<(), Denial> {
    let (early, session) = match stage {
        Stage::Early => (true, None),
        Stage::Permitted(session) => (false, session),
    };
    if route.rate_limits.is_empty() || (!early && asked.manner.is_preflight()) {
        return Ok(());
    }
    let identity = session.map(|session| (&session.identity, session.authenticator));
    let whose = Asker { identity, client: asked.client };
    let due = route.rate_limits.iter().filter(|limit| limit.is_early() == early);
    let mut charges = Vec::new();
    for limit in due {
        if let Some(charge) = limit.charge(&whose) {
            observer.counted(limit, &charge);
            charges.push(charge);
        }
    }
    if charges.is_empty() {
        return Ok(());
    }
    let Some(allowance) = Box::pin(witness.charge(&charges)).await? else { return Ok(()) };
    observer.limited(&allowance);
    if allowance.wait.is_some() { Err(Denial::new(Reason::RateLimited)) } else { Ok(()) }
}

/// Our answer to a preflight, where the configuration says who may read what.
fn preflight(generation: &Generation, asked: &Asked<'_>) -> Result<Option<Box<Response<()>>>, Denial> {
    match &generation.cors {
        Some(cors) if asked.manner.is_preflight() => {
            let answer = cors.preflight(&asked.head.headers);
            answer.map(Box::new).map(Some).ok_or(Denial::new(Reason::OriginRefused))
        }
        Some(_) | None => Ok(None),
    }
}

/// The only form of host and path that there is from here on.
fn target(generation: &Generation, head: &Parts) -> Result<Target, Denial> {
    let too_many = head.headers.len() > generation.limits.headers;
    if too_many || (head.version == Version::HTTP_2 && list_size(head) > generation.limits.header_bytes) {
        return Err(Denial::new(Reason::HeadTooLarge));
    }
    Target::parse(generation.paths, head.version, &head.method, &head.uri, &head.headers)
}

/// The size of a head of HTTP/2 as its limit counts it: 32 bytes more for each field (RFC 9113 §6.5.2). Of HTTP/1.1 the bytes
/// were counted when they came.
fn list_size(head: &Parts) -> usize {
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len()));
    let aim = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    fields.map(|field| field.saturating_add(32)).fold(aim, usize::saturating_add)
}

/// Finds the credential.
fn extract<'a>(lookup: &'a Lookup, asked: &Asked<'a>) -> Result<Option<Candidate<'a>>, Denial> {
    lookup.find(&Carrier {
        headers: &asked.head.headers,
        query: asked.target.query(),
        is_websocket: asked.manner.is_websocket(),
    })
}

async fn authenticate(
    witness: &impl Witness,
    (route, credential): (&Route, Option<&Candidate<'_>>),
    asked: &Asked<'_>,
    observer: &mut impl Observer,
) -> Result<Option<Rc<Session>>, Denial> {
    match witness.identify(route, credential, asked.at, asked.client).await {
        Ok(Some(session)) => {
            observer.authenticator(session.authenticator);
            observer.identified(&session);
            Ok(Some(session))
        }
        Ok(None) => Ok(None),
        Err((authenticator, denial)) => {
            observer.authenticator(authenticator);
            Err(denial)
        }
    }
}

async fn learn(
    witness: &impl Witness,
    session: &Rc<Session>,
    at: UnixTime,
    observer: &mut impl Observer,
) -> Result<Entitled, Denial> {
    let entitled = witness.facts(session, at).await?;
    observer.facts(entitled.as_deref().map(|answer| &answer.value));
    Ok(entitled)
}

/// What the rule is asked, with what is known so far.
fn asking<'a>(session: Option<&'a Session>, facts: Option<&'a Facts>, asked: &Asked<'a>) -> Asking<'a> {
    let handshake = || route::Handshake {
        origin: single(&asked.head.headers, &ORIGIN).and_then(|origin| origin.to_str().ok()),
    };
    Asking {
        holder: session.map(|session| Holder {
            identity: &session.identity,
            facts,
            certificate: asked.certificate.and_then(|certificate| certificate.identity(asked.at)),
        }),
        target: asked.target,
        client: asked.client,
        claims: session.and_then(|session| session.claims.as_deref()),
        expires: session.map(|session| session.ends),
        handshake: asked.manner.is_websocket().then(handshake),
        preflight: asked.manner.is_preflight(),
    }
}
