//! What the account of a mesh may store.

use serde::Deserialize;

use crate::{
    error::Error,
    link::{DEADLINE, Link},
};

/// Storage of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Account {
    /// Bytes in files, over all its streams.
    pub bytes: u64,
    /// Bytes in files at most; none where the account has no limit of its own. The limit of the server is not told.
    pub max_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    limits: Limits,
}

#[derive(Default, Deserialize)]
struct Limits {
    #[serde(default)]
    max_storage: i64,
}

impl Link {
    /// Storage of the account that holds the mesh. An account may have a limit for each number of copies; then the one that
    /// is used up most counts.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn account(&self) -> Result<Account, Error> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(flatten)]
            all: Usage,
            #[serde(default)]
            tiers: std::collections::BTreeMap<String, Usage>,
        }
        let info: Info = self.api("INFO", &(), DEADLINE).await?;
        let read = |usage: &Usage| Account {
            bytes: usage.storage,
            max_bytes: u64::try_from(usage.limits.max_storage).ok().filter(|limit| *limit > 0),
        };
        let fullest = info.tiers.values().map(read).filter(|tier| tier.max_bytes.is_some()).max_by_key(share);
        Ok(fullest.unwrap_or_else(|| read(&info.all)))
    }
}

/// How much of the limit is used, in thousandths.
fn share(account: &Account) -> u64 {
    account.bytes.saturating_mul(1_000) / account.max_bytes.unwrap_or(u64::MAX).max(1)
}
