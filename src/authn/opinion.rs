//! What an authority says of a credential that only it can judge.

use crate::clock::UnixTime;
use crate::denial::{Denial, Reason};
use crate::identity::Identity;
use std::sync::Arc;

/// An authority's word on a credential.
#[derive(Debug)]
pub enum Opinion {
    /// It is good.
    Good(Vouched),
    /// It is bad: the reason, and what the log may say.
    Bad(Reason, &'static str),
}

/// What a good credential stands for.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// Who is asking.
    pub identity: Identity,
    /// The subject as text, for the log.
    pub subject: Arc<str>,
    /// When the credential itself ends, if the authority says so.
    pub expires: Option<UnixTime>,
    /// What the authority said, as it stands in its answer, if expressions look at it.
    pub claims: Option<Arc<serde_json::Value>>,
}

impl Opinion {
    /// What it vouches for.
    ///
    /// # Errors
    /// The refusal, if it is bad.
    pub fn vouched(&self) -> Result<&Vouched, Denial> {
        match self {
            Self::Good(vouched) => Ok(vouched),
            Self::Bad(reason, why) => Err(Denial::new(*reason).because(why)),
        }
    }
}
