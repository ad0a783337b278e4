//! Whoever is asked over the network: begun when somebody must be, and never where nobody may be.

use crate::authn::keys::{ASK_TIMEOUT, KeyStore};
use crate::standing::Standing;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often is looked whether keys have come.
const LOOK: Duration = Duration::from_millis(5);

/// What fetches keys, and asks authorities.
#[derive(Debug)]
pub(super) struct Fetching {
    stores: Vec<Arc<KeyStore>>,
    standing: Standing,
    has_begun: Cell<bool>,
}

impl Fetching {
    /// Nobody is asked yet.
    pub(super) const fn new(stores: Vec<Arc<KeyStore>>, standing: Standing) -> Self {
        Self { stores, standing, has_begun: Cell::new(false) }
    }

    /// Lets authorities be asked, and fetches keys unless that was done. Whatever has not come in time is missing, as it would
    /// be in a gate.
    pub(super) async fn begin(&self) {
        self.standing.begin();
        if self.has_begun.replace(true) {
            return;
        }
        let is_settled = |store: &Arc<KeyStore>| store.has_had_keys() || store.refreshes().errors() > 0;
        let settled = async {
            while !self.stores.iter().all(is_settled) {
                sleep(LOOK).await;
            }
        };
        timeout(ASK_TIMEOUT, settled).await.ok();
    }

    /// Nobody will be asked: whoever waits for an answer is told so at once.
    pub(super) fn refuse(&self) {
        self.standing.forget();
    }
}
