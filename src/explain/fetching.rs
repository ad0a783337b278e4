//! Whoever is asked over the network: begun when somebody must be, and never where nobody may be.

use crate::authn::keys::{ASK_TIMEOUT, KeyStore, Refresher};
use crate::inquiry::Running;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

/// How often is looked whether keys have come.
const LOOK: Duration = Duration::from_millis(5);

/// What fetches keys, and asks authorities.
pub(super) struct Fetching {
    stores: Vec<Arc<KeyStore>>,
    refreshers: RefCell<Vec<Refresher>>,
    inquiries: RefCell<Vec<Running>>,
}

impl fmt::Debug for Fetching {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fetching").field("stores", &self.stores).finish_non_exhaustive()
    }
}

impl Fetching {
    /// Nobody is asked yet.
    pub(super) const fn new(
        stores: Vec<Arc<KeyStore>>,
        refreshers: Vec<Refresher>,
        inquiries: Vec<Running>,
    ) -> Self {
        Self { stores, refreshers: RefCell::new(refreshers), inquiries: RefCell::new(inquiries) }
    }

    /// Lets authorities be asked, and fetches keys unless that was done. Whatever has not come in time is missing, as it would
    /// be in a gate.
    pub(super) async fn begin(&self) {
        for inquiry in self.inquiries.take() {
            drop(spawn_local(inquiry));
        }
        let begun = self.refreshers.take();
        if begun.is_empty() {
            return;
        }
        for refresher in begun {
            drop(spawn_local(refresher.run()));
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
        drop(self.refreshers.take());
        drop(self.inquiries.take());
    }
}
