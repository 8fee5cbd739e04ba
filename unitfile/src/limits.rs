//! PURE. The limits of this crate, each with its reason. What is over a limit is refused by an error that names it.

/// Longest unit file in bytes, as submitted.
///
/// Hand-written units are a few KiB and the longest generated ones seen in users' reports some 12 KiB,
/// while a record must stay far below etcd's 1.5 MiB per request so that many fit into one page.
/// The ancestor's limit of 2,048 bytes a line is gone: only the whole file is limited.
pub const MAX_FILE_BYTES: usize = 64 * 1024;

/// Longest unit name in bytes that [`UnitName`](crate::UnitName) accepts. It is the ancestor's limit.
pub const MAX_NAME_BYTES: usize = 256;

/// Longest machine id in bytes; `/etc/machine-id` holds 32.
pub const MAX_MACHINE_ID_BYTES: usize = 64;

/// Longest unit name in bytes that a machine can run: systemd and Linux file names end at 255.
pub const MAX_RUNNABLE_NAME_BYTES: usize = 255;

/// Most errors that are reported for one file.
///
/// A person mends a file from the first few, and a file of 64 KiB of garbage must not become megabytes of text.
pub const MAX_ERRORS: usize = 50;

/// Most values of one `[X-Fleet]` option in one unit.
///
/// Every value is one test per machine or per unit in the scheduler, and each peer is tested against each
/// pattern at submission, so it bounds what one unit can cost. Longer lists are what patterns and metadata are for.
pub const MAX_VALUES_PER_OPTION: usize = 128;

/// Largest `Weight` and largest weight of a `Prefers` value.
///
/// One unit counts for at most as many as a machine can run; sums over a cluster stay far from any overflow.
pub const MAX_WEIGHT: u32 = 1000;

/// Longest single value of an `[X-Fleet]` option in bytes, after specifiers are expanded.
///
/// `%n` is 2 bytes and a name up to 256, so without it a file could grow 128-fold in memory.
pub const MAX_VALUE_BYTES: usize = 4096;

/// Longest glob pattern in bytes: the longest name with every character escaped.
///
/// Matching costs at most pattern × name steps, so this is also the limit of that cost.
pub const MAX_PATTERN_BYTES: usize = 2 * MAX_NAME_BYTES;

/// Most characters of the user's own text that an error message repeats.
pub(crate) const MAX_EXCERPT_CHARS: usize = 60;
