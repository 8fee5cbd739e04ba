//! Reading a part of the cluster in pages, all at one revision.

use std::collections::BTreeMap;

use etcd_client::{GetOptions, GetResponse, KeyValue, SortOrder, SortTarget};
use futures_util::future::{maybe_done, poll_immediate};
use model::Revision;
use model::mutation::{Mutation, is_made};

use crate::connection::{Registry, from_revision, revision_of, to_revision};
use crate::error::RegistryError;

/// Records in a page: at about 400 bytes each a tenth of the 4 MiB that gRPC clients usually accept.
const PAGE_RECORDS: i64 = 1000;

/// Unit files in a page: at their limit of 64 KiB each half of those 4 MiB.
const PAGE_FILES: i64 = 32;

/// Keys without values in a page: about 130 bytes each, so a third of the same.
const PAGE_KEYS: i64 = 10_000;

/// A part of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// Everything whose key begins with this; unit files among it are in the folder `files`, whose own prefix is given.
    Cluster {
        /// What every key begins with.
        prefix: String,
        /// What the key of every unit file begins with.
        files: String,
    },
    /// Everything whose key begins with this; small records.
    Prefix(String),
    /// One record.
    Key(String),
}

/// Where a range stands at one moment, in three numbers: two states of a range with keys in the same history are the same
/// if nothing that is there was modified later in the one than in the other, and as many keys are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The store's revision when it was read, linearizably.
    pub(crate) revision: Revision,
    /// The newest modification of any key that is there.
    pub(crate) modified: Revision,
    /// How many keys are there.
    pub(crate) keys: u64,
    /// Which store this is.
    pub(crate) cluster: u64,
}

/// What changed in a range since some revision, and how much there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The store's revision when it was read, linearizably.
    pub(crate) revision: Revision,
    /// How many keys are there.
    pub(crate) keys: u64,
    /// Those that were modified since, each with when.
    pub(crate) modified: BTreeMap<Vec<u8>, Revision>,
    /// Which store this is.
    pub(crate) cluster: u64,
}

/// A listing that was read to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    /// The revision of all of it.
    pub(crate) revision: Revision,
    /// Which store this is.
    pub(crate) cluster: u64,
}

impl Range {
    /// First key and the key after the last, as etcd wants them.
    pub(crate) fn bounds(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Range::Cluster { prefix, .. } | Range::Prefix(prefix) => {
                (prefix.clone().into_bytes(), Some(prefix_end(prefix)))
            }
            Range::Key(key) => (key.clone().into_bytes(), None),
        }
    }

    /// The parts to read with the page size of each.
    fn parts(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>, i64)> {
        let (start, end) = self.bounds();
        match self {
            Range::Cluster { files, .. } => {
                let (from, to) = (files.clone().into_bytes(), prefix_end(files));
                vec![
                    (start, Some(from.clone()), PAGE_RECORDS),
                    (from, Some(to.clone()), PAGE_FILES),
                    (to, end, PAGE_RECORDS),
                ]
            }
            Range::Prefix(_) | Range::Key(_) => vec![(start, end, PAGE_RECORDS)],
        }
    }
}

/// One request of a listing.
#[derive(Clone)]
struct Page {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
    records: i64,
}

/// Calls `each` with every record of the range as of one revision, the one returned, which is the store's when this began.
/// While a page is taken in, the next is on its way.
///
/// # Errors
/// If the store failed, or compacted that revision meanwhile; some records may have been given.
pub(crate) async fn list(
    registry: &Registry,
    range: &Range,
    mut each: impl FnMut(&KeyValue),
) -> Result<Listed, RegistryError> {
    let page = |(start, end, records)| Page {
        start,
        end,
        records,
    };
    let mut parts = range.parts().into_iter().map(page);
    let mut at: Option<Listed> = None;
    let mut page = parts.next();
    let mut coming = Box::pin(maybe_done(read(registry, page.clone(), at)));
    while let Some(asked) = page {
        coming.as_mut().await;
        let answer = match coming.as_mut().take_output().flatten() {
            // Records far larger than ours are someone else's; whatever they are, one at a time fits.
            Some(Err(RegistryError::TooLarge { .. })) if asked.records > 1 => {
                let records = (asked.records / 2).max(1);
                page = Some(Page { records, ..asked });
                coming.set(maybe_done(read(registry, page.clone(), at)));
                continue;
            }
            Some(answer) => answer?,
            None => break,
        };
        if at.is_none() {
            let header = answer.header();
            at = Some(Listed {
                revision: revision_of(header)?,
                cluster: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
            });
        }
        page = match answer.kvs().last() {
            Some(last) if answer.more() => {
                let mut start = last.key().to_vec();
                start.push(0);
                Some(Page { start, ..asked })
            }
            Some(_) | None => parts.next(),
        };
        coming.set(maybe_done(read(registry, page.clone(), at)));
        // Sends the request; whether it is answered already makes no difference.
        let _answered: Option<()> = poll_immediate(coming.as_mut()).await;
        answer.kvs().iter().for_each(&mut each);
    }
    at.ok_or_else(|| RegistryError::Protocol {
        reason: "a range without parts".to_owned(),
    })
}

/// Reads a page as of the revision of the first; none if there is no page.
async fn read(
    registry: &Registry,
    page: Option<Page>,
    at: Option<Listed>,
) -> Option<Result<GetResponse, RegistryError>> {
    let page = page?;
    let mut options = GetOptions::new().with_limit(page.records);
    if is_made(Mutation::StaleReads) {
        options = options.with_serializable();
    }
    if let Some(end) = page.end {
        options = options.with_range(end);
    }
    if let Some(at) = at {
        options = options.with_revision(from_revision(at.revision));
    }
    Some(registry.get_raw(page.start, options).await)
}

/// Reads where the range stands now.
pub(crate) async fn standing(
    registry: &Registry,
    range: &Range,
) -> Result<Standing, RegistryError> {
    let (start, end) = range.bounds();
    let mut options = GetOptions::new()
        .with_sort(SortTarget::Mod, SortOrder::Descend)
        .with_limit(1)
        .with_keys_only();
    if let Some(end) = end {
        options = options.with_range(end);
    }
    let answer = registry.get_raw(start, options).await?;
    let newest = answer.kvs().first().map_or(0, KeyValue::mod_revision);
    Ok(Standing {
        revision: revision_of(answer.header())?,
        modified: to_revision(newest),
        keys: u64::try_from(answer.count()).unwrap_or(0),
        cluster: answer
            .header()
            .map_or(0, etcd_client::ResponseHeader::cluster_id),
    })
}

/// Reads what changed in the range after `since`. No value is sent; of a cluster in which nothing happens nothing is but a number.
///
/// # Errors
/// If the store failed, or compacted that revision meanwhile.
pub(crate) async fn account(
    registry: &Registry,
    range: &Range,
    since: Revision,
) -> Result<Account, RegistryError> {
    let (mut start, end) = range.bounds();
    let mut options = GetOptions::new()
        .with_keys_only()
        .with_limit(PAGE_KEYS)
        .with_min_mod_revision(from_revision(since) + 1);
    if let Some(end) = end {
        options = options.with_range(end);
    }
    let answer = registry.get_raw(start.clone(), options.clone()).await?;
    let header = answer.header();
    let mut account = Account {
        revision: revision_of(header)?,
        // Of all, whatever the filter leaves.
        keys: u64::try_from(answer.count()).unwrap_or(0),
        modified: BTreeMap::new(),
        cluster: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
    };
    options = options.with_revision(from_revision(account.revision));
    let mut page = answer;
    loop {
        let dated = |key: &KeyValue| (key.key().to_vec(), to_revision(key.mod_revision()));
        account.modified.extend(page.kvs().iter().map(dated));
        match page.kvs().last() {
            Some(last) if page.more() => {
                start = last.key().to_vec();
                start.push(0);
            }
            Some(_) | None => return Ok(account),
        }
        page = registry.get_raw(start.clone(), options.clone()).await?;
    }
}

/// The first key after all that begin with `prefix`.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // No text consists of 0xff only; to etcd this means "to the end".
    vec![0]
}
