//! One compiled rule, and the permit that only it can give.

use super::expression::Circumstances;
use super::rate::RateLimit;
use super::requirement::Requirements;
use super::router::Pattern;
use crate::clock::UnixTime;
use crate::config::policy::{Access, Mode, OnDenied, OnExpiry, StreamExpiry};
use crate::denial::{Denial, Reason};
use crate::facts::Holder;
use crate::target::{Prefix, Target};
use http::uri::PathAndQuery;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// One compiled rule: a `[[routes]]` entry, or `[policy]` itself.
#[derive(Clone, Debug)]
pub struct Route {
    /// For logs and metrics.
    pub name: Arc<str>,
    /// Who is let in.
    pub access: Access,
    /// Whether its verdicts hold, or are only recorded.
    pub mode: Mode,
    /// Places in the list of authenticators, in the order in which they are tried.
    pub authenticators: Arc<[usize]>,
    /// What an identity must have.
    pub requirements: Requirements,
    /// Its paths, for the parameters that expressions look at; none for the policy itself.
    pub pattern: Option<Pattern>,
    /// Whether facts about the customer are asked for: the requirements or a header need them.
    pub entitled: bool,
    /// The place of its service in the list of upstreams.
    pub upstream: usize,
    /// Which front of the path is replaced, and with what.
    pub rewrite: Option<(Prefix, Prefix)>,
    /// What becomes of a response that is on its way when its credential is not good any more.
    pub on_expiry: StreamExpiry,
    /// How WebSockets are treated.
    pub websocket: WebSocketRules,
    /// How many requests in how much time.
    pub rate_limits: Arc<[RateLimit]>,
}

/// How WebSockets are treated.
#[derive(Clone, Debug, Default)]
pub struct WebSocketRules {
    /// How a handshake is refused.
    pub on_denied: OnDenied,
    /// What becomes of a tunnel when its token expires.
    pub on_expiry: OnExpiry,
    /// The `Origin` values that may open one; empty = any.
    pub allowed_origins: Vec<String>,
}

/// Who is asking, as far as it is known when the rule is applied.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Whose identity was verified; none on public routes, and without a credential on optional ones.
    pub holder: Option<Holder<'a>>,
    /// What is asked for.
    pub target: &'a Target,
    /// Where the request comes from.
    pub client: Option<IpAddr>,
    /// The verified claims, if they were kept.
    pub claims: Option<&'a Value>,
    /// When what vouches for the identity ends.
    pub expires: Option<UnixTime>,
    /// What a WebSocket handshake says of itself; none for other requests.
    pub handshake: Option<Handshake<'a>>,
    /// Whether it is a CORS preflight. Browsers send none with a credential (Fetch §4.9), so that asking for one
    /// would shut them out; what is allowed across origins is the service's own business.
    pub preflight: bool,
}

/// What a WebSocket handshake says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    /// Its one `Origin`.
    pub origin: Option<&'a str>,
}

/// The word that nobody is judged, given once at start for development (`--insecure-bypass`).
#[derive(Clone, Copy, Debug)]
pub struct Bypass(());

impl Bypass {
    /// Only for a gate that listens on loopback addresses and nowhere else.
    #[must_use]
    pub const fn for_development() -> Self {
        Self(())
    }
}

/// Leave to forward one request. It is made only by a [`Route`], so nothing is forwarded unjudged.
#[derive(Debug)]
pub struct Permit {
    upstream: usize,
    tunnel: Option<Tenure>,
    response: Option<Tenure>,
}

/// What ends with the session that it was opened for, and when at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// None = as long as the session stands.
    pub until: Option<UnixTime>,
}

impl Permit {
    /// The place of the service in the list of upstreams.
    #[must_use]
    pub const fn upstream(&self) -> usize {
        self.upstream
    }

    /// When a tunnel that this permit opens must end; none = with nobody's session.
    #[must_use]
    pub const fn tunnel(&self) -> Option<Tenure> {
        self.tunnel
    }

    /// When the response to the request must end; none = when it ends by itself.
    #[must_use]
    pub const fn response(&self) -> Option<Tenure> {
        self.response
    }
}

impl Route {
    /// Whether a credential is looked for at all.
    ///
    /// # Errors
    /// `route_denied` when nobody is let in, whatever they show.
    pub fn wants_credential(&self, preflight: bool) -> Result<bool, Denial> {
        match self.access {
            Access::Public => Ok(false),
            Access::Optional | Access::Authenticated => Ok(!preflight),
            Access::Deny => Err(Denial::new(Reason::RouteDenied)),
        }
    }

    /// Judges a request; pure, and run anew for every one.
    ///
    /// # Errors
    /// Every reason of the policy: missing identity, missing entitlement, refused origin, closed route.
    pub fn permit(&self, asking: Asking<'_>) -> Result<Permit, Denial> {
        match (self.access, asking.holder) {
            (Access::Deny, _) => return Err(Denial::new(Reason::RouteDenied)),
            (Access::Public, _) => {}
            (Access::Optional | Access::Authenticated, _) if asking.preflight => {}
            // Without an identity nothing can be fulfilled, and nothing need be if nothing is required.
            (Access::Optional, None) if self.requirements.is_empty() => {}
            (Access::Authenticated | Access::Optional, None) => {
                return Err(Denial::new(Reason::CredentialMissing));
            }
            (Access::Authenticated | Access::Optional, Some(holder)) => {
                self.requirements.check(&holder, &self.circumstances(&asking))?;
            }
        }
        if let Some(handshake) = asking.handshake {
            self.websocket.admit(handshake.origin)?;
        }
        let until = match self.websocket.on_expiry {
            OnExpiry::Close => asking.expires,
            OnExpiry::Ignore => None,
        };
        let response = match self.on_expiry {
            StreamExpiry::Close => Some(Tenure { until: asking.expires }),
            StreamExpiry::Ignore => None,
        };
        Ok(Permit { upstream: self.upstream, tunnel: Some(Tenure { until }), response })
    }

    /// Checks what can be checked before facts about the customer are asked for.
    ///
    /// # Errors
    /// As [`Route::permit`], which checks it once more.
    pub fn check_before_facts(&self, asking: &Asking<'_>) -> Result<(), Denial> {
        let Some(holder) = asking.holder else { return Ok(()) };
        self.requirements.check_before_facts(&holder, &self.circumstances(asking))
    }

    /// What an expression may look at besides the identity.
    #[must_use]
    pub const fn circumstances<'a>(&'a self, asking: &Asking<'a>) -> Circumstances<'a> {
        let Asking { target, client, claims, .. } = *asking;
        Circumstances { target, pattern: self.pattern.as_ref(), client, claims }
    }

    /// What becomes of a request that was denied: nothing where verdicts hold; in shadow mode it passes all the same, and
    /// what it opens stays open.
    ///
    /// # Errors
    /// The denial, where it holds.
    pub fn pass_in_shadow(&self, denial: Denial) -> Result<(Permit, Denial), Denial> {
        match self.mode {
            Mode::Enforce => Err(denial),
            Mode::Shadow => Ok((self.unconditional(), denial)),
        }
    }

    /// Lets a request pass unjudged, for development.
    ///
    /// # Errors
    /// `route_denied` where nobody is let in.
    pub const fn pass_in_bypass(&self, _: Bypass) -> Result<Permit, Denial> {
        match self.access {
            Access::Deny => Err(Denial::new(Reason::RouteDenied)),
            Access::Public | Access::Optional | Access::Authenticated => Ok(self.unconditional()),
        }
    }

    const fn unconditional(&self) -> Permit {
        Permit { upstream: self.upstream, tunnel: None, response: None }
    }

    /// The path and query that the service sees.
    ///
    /// # Errors
    /// `path_refused` when the rewritten path is too long.
    pub fn rewritten(&self, target: &Target) -> Result<PathAndQuery, Denial> {
        match &self.rewrite {
            Some((from, to)) => target.rewritten(from, to),
            None => Ok(target.path_and_query().clone()),
        }
    }
}

impl WebSocketRules {
    fn admit(&self, origin: Option<&str>) -> Result<(), Denial> {
        let listed = |origin: &str| self.allowed_origins.iter().any(|allowed| allowed == origin);
        if self.allowed_origins.is_empty() || origin.is_some_and(listed) {
            return Ok(());
        }
        Err(Denial::new(Reason::OriginRefused))
    }
}

#[cfg(test)]
mod tests {
    use super::{Asking, Handshake, Route, Tenure, WebSocketRules};
    use crate::clock::UnixTime;
    use crate::config::policy::{Access, Mode, OnExpiry, Require, StreamExpiry};
    use crate::config::problem::{KeyPath, Problems};
    use crate::config::server::Paths;
    use crate::denial::Reason;
    use crate::facts::Holder;
    use crate::identity::{Attribute, Identity};
    use crate::policy::requirement::Requirements;
    use crate::target::{PathRules, Target};
    use http::{HeaderMap, HeaderValue, Method, Uri, Version};

    fn route(access: Access, roles: &[&str]) -> Route {
        let require =
            Require { roles: roles.iter().map(ToString::to_string).collect(), ..Require::default() };
        Route {
            name: "test".into(),
            access,
            mode: Mode::Enforce,
            entitled: false,
            authenticators: [].into(),
            requirements: Requirements::compile(&require, &KeyPath::default(), &mut Problems::default()),
            pattern: None,
            upstream: 3,
            rewrite: None,
            on_expiry: StreamExpiry::default(),
            websocket: WebSocketRules::default(),
            rate_limits: [].into(),
        }
    }

    fn target() -> Target {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("api.example"));
        let rules = PathRules::from(Paths::default());
        Target::parse(rules, Version::HTTP_11, &Method::GET, &Uri::from_static("/"), &headers).unwrap()
    }

    fn anybody(target: &Target) -> Asking<'_> {
        let (holder, expires, handshake) = (None, None, None);
        Asking { holder, target, client: None, claims: None, expires, handshake, preflight: false }
    }

    fn admin() -> Identity {
        let mut identity = Identity::default();
        identity.insert("roles", Attribute::Set(["admin"].into_iter().collect()));
        identity
    }

    fn judge(route: &Route, identity: Option<&Identity>, handshake: Option<Handshake<'_>>) -> Reason {
        let expires = Some(UnixTime::from_seconds(9));
        let holder = identity.map(|identity| Holder { identity, facts: None, certificate: None });
        let target = target();
        match route.permit(Asking { holder, expires, handshake, ..anybody(&target) }) {
            Ok(permit) => {
                assert_eq!((permit.upstream(), permit.tunnel()), (3, Some(Tenure { until: expires })));
                assert_eq!(permit.response(), None);
                Reason::Allowed
            }
            Err(denial) => denial.reason(),
        }
    }

    #[test]
    fn access_decides_first() {
        let (admin, nobody) = (admin(), Identity::default());
        for (access, roles, identity, reason) in [
            (Access::Deny, &[][..], Some(&admin), Reason::RouteDenied),
            (Access::Public, &[], None, Reason::Allowed),
            (Access::Authenticated, &[], None, Reason::CredentialMissing),
            (Access::Authenticated, &[], Some(&nobody), Reason::Allowed),
            (Access::Authenticated, &["admin"], Some(&nobody), Reason::RoleMissing),
            (Access::Authenticated, &["admin"], Some(&admin), Reason::Allowed),
            (Access::Optional, &[], None, Reason::Allowed),
            (Access::Optional, &["admin"], None, Reason::CredentialMissing),
            (Access::Optional, &["admin"], Some(&nobody), Reason::RoleMissing),
        ] {
            assert_eq!(judge(&route(access, roles), identity, None), reason, "{access:?} {roles:?}");
        }
    }

    #[test]
    fn preflights_pass_unless_nobody_does() {
        for (access, passes) in [
            (Access::Authenticated, true),
            (Access::Optional, true),
            (Access::Public, true),
            (Access::Deny, false),
        ] {
            let target = target();
            let asking = Asking { preflight: true, ..anybody(&target) };
            let route = route(access, &[]);
            assert_eq!(route.permit(asking).is_ok(), passes, "{access:?}");
            assert_eq!(route.wants_credential(true).ok(), passes.then_some(false), "{access:?}");
        }
    }

    #[test]
    fn only_listed_origins_open_websockets() {
        let from = |origin| Some(Handshake { origin });
        let mut route = route(Access::Public, &[]);
        assert_eq!(judge(&route, None, from(Some("https://evil.example"))), Reason::Allowed);
        route.websocket.allowed_origins = vec!["https://app.example".to_owned()];
        assert_eq!(judge(&route, None, from(Some("https://app.example"))), Reason::Allowed);
        assert_eq!(judge(&route, None, from(Some("https://evil.example"))), Reason::OriginRefused);
        assert_eq!(judge(&route, None, from(None)), Reason::OriginRefused);
        assert_eq!(
            judge(&route, None, None),
            Reason::Allowed,
            "ordinary requests have their own rules (CORS)"
        );
        route.websocket.on_expiry = OnExpiry::Ignore;
        let target = target();
        let asking = Asking { expires: Some(UnixTime::default()), ..anybody(&target) };
        assert_eq!(route.permit(asking).unwrap().tunnel(), Some(Tenure { until: None }));
    }
}
