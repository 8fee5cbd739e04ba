//! Keeps history and leases in one redb file: what is committed survives any crash.
//!
//! The file is read once, when it is opened; from then on memory answers and the file is only
//! written. So redb's cache is kept small.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::error::EmbeddedError;
use super::mvcc::{KeyVersion, Mvcc, Revision};
use super::record;
use super::refusal::Refusal;
use super::state::Record;

/// Revision and position in its transaction → a version, see `record.rs`.
const HISTORY: TableDefinition<(i64, u32), &[u8]> = TableDefinition::new("history");
/// Lease id → time to live in seconds.
const LEASES: TableDefinition<i64, i64> = TableDefinition::new("leases");
/// Name → number.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

const CLUSTER_ID: &str = "cluster_id";
const MEMBER_ID: &str = "member_id";
/// Counts the times the file was opened; it is what other etcds call the raft term.
const TERM: &str = "term";
const HEAD: &str = "head";
const COMPACTED: &str = "compacted";

/// redb's default is 1 GiB. Memory holds everything already, so this only helps writes find the
/// few pages that they change.
const CACHE_BYTES: usize = 1024 * 1024;

/// Who this etcd is, as it says in every answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    pub(crate) term: u64,
}

/// What was found in the file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) identity: Identity,
    pub(crate) mvcc: Mvcc,
    /// Id and time to live in seconds.
    pub(crate) leases: Vec<(i64, i64)>,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    database: Database,
}

impl Disk {
    /// Opens the file, or creates it, and reads everything. Blocks.
    pub(crate) fn open(path: &Path, fresh: Identity) -> Result<(Disk, Contents), EmbeddedError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|source| EmbeddedError::open(path, source.into()))?;
        let identity =
            start_term(&database, fresh).map_err(|source| EmbeddedError::open(path, source))?;
        sync_folder(path).map_err(|source| EmbeddedError::open(path, source.into()))?;
        let contents = load(&database, path, identity)?;
        Ok((
            Disk {
                path: path.to_path_buf(),
                database,
            },
            contents,
        ))
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the records durable, all or none. Blocks. After an error the file must be opened
    /// again before anything else is written: only then is it known what it holds.
    pub(crate) fn commit(&self, records: &[Record]) -> Result<(), Refusal> {
        write(&self.database, records).map_err(|error| {
            if is_full(&error) {
                Refusal::NoSpace
            } else {
                Refusal::Storage(error.to_string())
            }
        })
    }
}

/// Whether the disk, or what we may use of it, is full.
pub(crate) fn is_full(error: &redb::Error) -> bool {
    match error {
        redb::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ),
        // redb's enum may grow; nothing else in it says that a disk is full.
        _ => false,
    }
}

/// Makes the name of a new file as durable as its content.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) => File::open(".")?.sync_all(),
        None => Ok(()),
    }
}

fn write(database: &Database, records: &[Record]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut history = transaction.open_table(HISTORY)?;
        let mut leases = transaction.open_table(LEASES)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        let mut position = None;
        for record in records {
            match record {
                Record::Version(KeyVersion { key, version }) => {
                    let at = (version.at.main, version.at.sub);
                    history.insert(at, record::encode(key, version).as_slice())?;
                }
                Record::Forget(at) => {
                    history.remove((at.main, at.sub))?;
                }
                Record::Grant { id, ttl_s } => {
                    leases.insert(id, ttl_s)?;
                }
                Record::Revoke { id } => {
                    leases.remove(id)?;
                }
                Record::Position { head, compacted } => position = Some((head, compacted)),
            }
        }
        if let Some((head, compacted)) = position {
            numbers.insert(HEAD, head.cast_unsigned())?;
            numbers.insert(COMPACTED, compacted.cast_unsigned())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Who the file says it is (`fresh` if it is new), one term further.
fn start_term(database: &Database, fresh: Identity) -> Result<Identity, redb::Error> {
    let transaction = database.begin_write()?;
    let identity = {
        transaction.open_table(HISTORY)?;
        transaction.open_table(LEASES)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        let identity = Identity {
            cluster_id: number(&numbers, CLUSTER_ID)?.unwrap_or(fresh.cluster_id),
            member_id: number(&numbers, MEMBER_ID)?.unwrap_or(fresh.member_id),
            term: number(&numbers, TERM)?.unwrap_or(0) + 1,
        };
        numbers.insert(CLUSTER_ID, identity.cluster_id)?;
        numbers.insert(MEMBER_ID, identity.member_id)?;
        numbers.insert(TERM, identity.term)?;
        identity
    };
    transaction.commit()?;
    Ok(identity)
}

fn number(
    table: &impl ReadableTable<&'static str, u64>,
    name: &str,
) -> Result<Option<u64>, redb::Error> {
    Ok(table.get(name)?.map(|found| found.value()))
}

fn load(database: &Database, path: &Path, identity: Identity) -> Result<Contents, EmbeddedError> {
    let failed = |source: redb::Error| EmbeddedError::open(path, source);
    let transaction = database
        .begin_read()
        .map_err(|source| failed(source.into()))?;
    let (head, compacted) = read_position(&transaction).map_err(failed)?;
    let mut mvcc = Mvcc::at(head, compacted);
    let malformed = read_history(&transaction, &mut mvcc).map_err(failed)?;
    if let Some(Revision { main: revision, .. }) = malformed {
        let path = path.to_path_buf();
        return Err(EmbeddedError::Malformed { path, revision });
    }
    let leases = read_leases(&transaction).map_err(failed)?;
    Ok(Contents {
        identity,
        mvcc,
        leases,
    })
}

/// Reads all versions into `mvcc`, in order; stops at one that cannot be read and says where.
fn read_history(
    transaction: &redb::ReadTransaction,
    mvcc: &mut Mvcc,
) -> Result<Option<Revision>, redb::Error> {
    for entry in transaction.open_table(HISTORY)?.iter()? {
        let (at, bytes) = entry?;
        let (main, sub) = at.value();
        let at = Revision { main, sub };
        match record::decode(at, bytes.value()) {
            Ok(KeyVersion { key, version }) => mvcc.insert(key, version),
            Err(record::Malformed) => return Ok(Some(at)),
        }
    }
    Ok(None)
}

fn read_leases(transaction: &redb::ReadTransaction) -> Result<Vec<(i64, i64)>, redb::Error> {
    let mut leases = Vec::new();
    for entry in transaction.open_table(LEASES)?.iter()? {
        let (id, ttl_s) = entry?;
        leases.push((id.value(), ttl_s.value()));
    }
    Ok(leases)
}

fn read_position(transaction: &redb::ReadTransaction) -> Result<(i64, i64), redb::Error> {
    let numbers = transaction.open_table(NUMBERS)?;
    let head = number(&numbers, HEAD)?.unwrap_or(0).cast_signed();
    let compacted = number(&numbers, COMPACTED)?.unwrap_or(0).cast_signed();
    Ok((head, compacted))
}
