//! What the customer of one request may do besides what the token says: from the session, or asked for anew.

use crate::clock::UnixTime;
use crate::config::entitlements::OnError;
use crate::denial::{Denial, Reason};
use crate::entitlements::Entitlements;
use crate::facts::Facts;
use crate::inquiry::Answer;
use crate::sessions::Session;
use crate::telemetry::tally::Tally;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::spawn_local;

/// Facts for one request.
pub type Entitled = Option<Arc<Answer<Facts>>>;

/// The facts about a session's customer; none when nobody could be asked and the configuration says to go on without.
///
/// They stay with the session: fresh ones cost nothing, stale ones serve while new ones are on their way.
///
/// # Errors
/// `capability_missing` when the identity lacks the attribute by which is asked, `authority_unavailable` when nobody can be
/// asked.
pub async fn entitle(
    entitlements: &Arc<Entitlements>,
    session: &Rc<Session>,
    now: UnixTime,
    tally: &Tally,
) -> Result<Entitled, Denial> {
    let held = session.known.facts.borrow().upgrade();
    if let Some(answer) = held.filter(|answer| now < answer.stale_until) {
        tally.entitlement_hits.increment();
        if now >= answer.fresh_until && !session.known.asked.replace(true) {
            refresh(Arc::clone(entitlements), Rc::clone(session))?;
        }
        return Ok(Some(answer));
    }
    tally.entitlement_misses.increment();
    let url = url(entitlements, session)?;
    match entitlements.inquiry.ask(&url).await {
        Ok(answer) => {
            *session.known.facts.borrow_mut() = Arc::downgrade(&answer);
            Ok(Some(answer))
        }
        Err(unavailable) => match entitlements.on_error {
            OnError::Deny => Err(Denial::new(Reason::AuthorityUnavailable).because(unavailable)),
            OnError::Allow => {
                tally.entitlement_fallbacks.increment();
                Ok(None)
            }
        },
    }
}

/// Where is asked about a session's customer.
///
/// # Errors
/// `capability_missing` when the identity lacks an attribute by which is asked.
pub fn url(entitlements: &Entitlements, session: &Session) -> Result<String, Denial> {
    entitlements.question.url(&session.identity).map_err(|attribute| {
        let why = format_args!("entitlements are asked for by the attribute {attribute}, which lacks");
        Denial::new(Reason::CapabilityMissing).because(why)
    })
}

/// Asks for new facts beside the requests.
fn refresh(entitlements: Arc<Entitlements>, session: Rc<Session>) -> Result<(), Denial> {
    let url = url(&entitlements, &session)?;
    drop(spawn_local(async move {
        // What cannot be had now is asked for again by the next request.
        if let Ok(answer) = entitlements.inquiry.ask(&url).await {
            *session.known.facts.borrow_mut() = Arc::downgrade(&answer);
        }
        session.known.asked.set(false);
    }));
    Ok(())
}
