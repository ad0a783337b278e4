//! The rules: which one holds for a request, and what it demands. Pure: no clock, no network, no cache.

pub mod expression;
pub mod rate;
pub mod requirement;
pub mod route;
pub mod router;

pub use route::{Asking, Bypass, Lasting, Permit, Route};

use crate::target::Target;
use router::{Router, Rule};

/// Every rule of a configuration.
#[derive(Debug)]
pub struct Policy {
    router: Router<usize>,
    routes: Vec<Route>,
    fallback: Route,
}

impl Policy {
    /// Rules for paths, each value being a place in `places`, and what holds where none of them does.
    #[must_use]
    pub const fn new(router: Router<usize>, places: Vec<Route>, fallback: Route) -> Self {
        Self { router, routes: places, fallback }
    }

    /// The rule that holds, and its place; the last place is that of the fallback.
    #[must_use]
    pub fn route(&self, target: &Target) -> (usize, &Route) {
        let found = self.router.find(target.host(), target.path(), target.method());
        let place = found.map(|found| *found.value());
        match place.and_then(|place| Some((place, self.routes.get(place)?))) {
            Some(found) => found,
            None => (self.routes.len(), &self.fallback),
        }
    }

    /// Whether an expression looks at claims, so that they must be kept with the session.
    #[must_use]
    pub fn wants_claims(&self) -> bool {
        self.routes().any(|route| route.requirements.need_claims())
    }

    /// Which requests each place is for, in the order of the configuration; the fallback is not among them.
    #[must_use]
    pub fn rules(&self) -> &[Rule<usize>] {
        self.router.rules()
    }

    /// Every rule in the order of places, the fallback last.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().chain(std::iter::once(&self.fallback))
    }
}
