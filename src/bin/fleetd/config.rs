//! The configuration: defaults, then `fleet.conf`, then `FLEET_*` in the environment. PURE: the caller reads file and environment.
//!
//! A value that cannot be used is an error that names where it stands; all of them are reported at once. The ancestor ignored
//! such values silently, and operators found out at 3 a.m.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use model::OfflineStart;

use crate::brake::{self, BrakeConfig};
use crate::ini;

/// The shortest machine lease: etcd grants none shorter than 1.5 election timeouts (2 s), and three keep-alives must fit in.
const AGENT_TTL_MIN: Duration = Duration::from_secs(3);

/// The longest machine lease: past that, nobody would call a lost machine's units "moved".
const AGENT_TTL_MAX: Duration = Duration::from_secs(3600);

/// Where to serve the API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Listen {
    /// A unix socket of our own.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

/// Everything fleetd can be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Config {
    pub(crate) verbose: bool,
    /// Empty unless configured; the default is tried then.
    pub(crate) etcd_servers: Vec<String>,
    pub(crate) etcd_username: Option<String>,
    pub(crate) etcd_password: Option<String>,
    pub(crate) etcd_cafile: Option<PathBuf>,
    pub(crate) etcd_certfile: Option<PathBuf>,
    pub(crate) etcd_keyfile: Option<PathBuf>,
    pub(crate) etcd_key_prefix: String,
    pub(crate) etcd_request_timeout: Duration,
    pub(crate) public_ip: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) agent_ttl: Duration,
    /// When units are started after a boot without the store.
    pub(crate) offline_start: OfflineStart,
    pub(crate) units_directory: Option<PathBuf>,
    pub(crate) systemd_user: bool,
    pub(crate) token_limit: NonZeroU16,
    pub(crate) disable_engine: bool,
    pub(crate) brake: BrakeConfig,
    /// None: the sockets systemd passed, or else the default socket.
    pub(crate) listen: Option<Vec<Listen>>,
    /// Lets API and standalone store be reached from other machines without authentication.
    pub(crate) insecure_listen: bool,
    pub(crate) standalone: bool,
    pub(crate) standalone_listen: SocketAddr,
    pub(crate) data_directory: PathBuf,
}

impl Config {
    fn defaults() -> Config {
        Config {
            verbose: false,
            etcd_servers: Vec::new(),
            etcd_username: None,
            etcd_password: None,
            etcd_cafile: None,
            etcd_certfile: None,
            etcd_keyfile: None,
            etcd_key_prefix: "/_coreos.com/fleet/".to_owned(),
            // A round trip and an fsync, with room for a leader election of etcd (1 to 2.3 s).
            etcd_request_timeout: Duration::from_millis(2500),
            public_ip: None,
            metadata: BTreeMap::new(),
            agent_ttl: Duration::from_secs(10),
            // Longer than a store that is there takes to answer.
            offline_start: OfflineStart::After(Duration::from_secs(10)),
            units_directory: None,
            systemd_user: false,
            token_limit: NonZeroU16::MIN.saturating_add(99),
            disable_engine: false,
            brake: BrakeConfig::default(),
            listen: None,
            insecure_listen: false,
            standalone: false,
            standalone_listen: SocketAddr::from(([127, 0, 0, 1], 2379)),
            data_directory: PathBuf::from("/var/lib/fleet"),
        }
    }
}

/// What was read: the configuration, and what to warn about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) warnings: Vec<String>,
}

/// All that is wrong with the configuration, a line each.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(crate) struct ConfigErrors(Vec<String>);

type Setter = fn(&mut Config, &str) -> Result<(), String>;

/// Every key there is. One table, so that file, environment and the list of known keys cannot differ.
const KEYS: &[(&str, Setter)] = &[
    ("verbosity", |c, v| {
        number(v).map(|level: i64| c.verbose = level > 0)
    }),
    ("etcd_servers", |c, v| {
        servers(v).map(|list| c.etcd_servers = list)
    }),
    ("etcd_username", |c, v| text(v, &mut c.etcd_username)),
    ("etcd_password", |c, v| text(v, &mut c.etcd_password)),
    ("etcd_cafile", |c, v| path(v, &mut c.etcd_cafile)),
    ("etcd_certfile", |c, v| path(v, &mut c.etcd_certfile)),
    ("etcd_keyfile", |c, v| path(v, &mut c.etcd_keyfile)),
    ("etcd_key_prefix", |c, v| {
        prefix(v).map(|prefix| c.etcd_key_prefix = prefix)
    }),
    ("etcd_request_timeout", |c, v| {
        seconds(v).map(|limit| c.etcd_request_timeout = limit)
    }),
    ("public_ip", |c, v| {
        public_ip(v).map(|address| c.public_ip = address)
    }),
    ("metadata", |c, v| {
        metadata(v).map(|metadata| c.metadata = metadata)
    }),
    ("agent_ttl", |c, v| {
        agent_ttl(v).map(|ttl| c.agent_ttl = ttl)
    }),
    ("offline_start_after", |c, v| {
        offline_start(v).map(|when| c.offline_start = when)
    }),
    ("units_directory", |c, v| path(v, &mut c.units_directory)),
    ("systemd_user", |c, v| {
        boolean(v).map(|value| c.systemd_user = value)
    }),
    ("token_limit", |c, v| {
        token_limit(v).map(|limit| c.token_limit = limit)
    }),
    ("disable_engine", |c, v| {
        boolean(v).map(|value| c.disable_engine = value)
    }),
    ("brake_machines_min", |c, v| {
        number(v).map(|machines| c.brake.machines_min = Some(machines))
    }),
    ("brake_lost_percent", |c, v| {
        brake::percent(v).map(|percent| c.brake.lost_percent = Some(percent))
    }),
    ("brake_hold", |c, v| {
        brake::time(v).map(|time| c.brake.hold = Some(time))
    }),
    ("brake_give_up_every", |c, v| {
        brake::time(v).map(|time| c.brake.give_up_every = Some(time))
    }),
    ("listen", |c, v| {
        // Nothing named is nothing set: a fleetd that serves nowhere is of no use.
        listen(v).map(|list| c.listen = Some(list).filter(|list| !list.is_empty()))
    }),
    ("insecure_listen", |c, v| {
        boolean(v).map(|value| c.insecure_listen = value)
    }),
    ("standalone", |c, v| {
        boolean(v).map(|value| c.standalone = value)
    }),
    ("standalone_listen", |c, v| {
        address(v).map(|address| c.standalone_listen = address)
    }),
    ("data_directory", |c, v| {
        directory(v).map(|path| c.data_directory = path)
    }),
];

/// Keys of the ancestor that mean nothing here, and what to say of them.
const RETIRED: &[(&str, &str)] = &[
    (
        "engine_reconcile_interval",
        "the engine follows events instead of polling",
    ),
    ("enable_grpc", "it is not needed: nothing polls etcd"),
    ("disable_watches", "watches are how fleet works"),
    ("verify_units", "it is no longer supported"),
    ("authorized_keys_file", "it is no longer supported"),
];

/// Reads the configuration from the text of a file (with the name it is known by) and from `FLEET_*` variables, which win.
pub(crate) fn load(
    file: Option<(&str, &str)>,
    environment: &BTreeMap<String, String>,
) -> Result<Loaded, ConfigErrors> {
    let mut config = Config::defaults();
    let mut warnings = Vec::new();
    let mut errors = Vec::new();
    if let Some((name, text)) = file {
        match ini::parse(text) {
            Err(error) => errors.push(format!("{name}: {error}")),
            Ok(settings) => {
                for setting in settings {
                    let place = format!("{name}: line {}: {}", setting.line, setting.key);
                    apply(
                        &mut config,
                        &place,
                        &setting.key,
                        &setting.value,
                        &mut warnings,
                        &mut errors,
                    );
                }
            }
        }
    }
    for (variable, value) in environment {
        let Some(key) = variable.strip_prefix("FLEET_").map(str::to_ascii_lowercase) else {
            continue;
        };
        let known = KEYS.iter().any(|(name, _)| *name == key)
            || RETIRED.iter().any(|(name, _)| *name == key);
        if known {
            apply(
                &mut config,
                variable,
                &key,
                value,
                &mut warnings,
                &mut errors,
            );
        }
    }
    consistency(&config, &mut errors);
    if errors.is_empty() {
        Ok(Loaded { config, warnings })
    } else {
        Err(ConfigErrors(errors))
    }
}

fn apply(
    config: &mut Config,
    place: &str,
    key: &str,
    value: &str,
    warnings: &mut Vec<String>,
    errors: &mut Vec<String>,
) {
    if let Some((_, setter)) = KEYS.iter().find(|(name, _)| *name == key) {
        if let Err(problem) = setter(config, value) {
            errors.push(format!("{place}: {problem}"));
        }
        return;
    }
    match RETIRED.iter().find(|(name, _)| *name == key) {
        Some((_, why)) => warnings.push(format!("{place}: ignored: {why}")),
        None => {
            let known: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
            warnings.push(format!(
                "{place}: unknown key, ignored; known keys are {}",
                known.join(" ")
            ));
        }
    }
}

/// Rules that span keys.
fn consistency(config: &Config, errors: &mut Vec<String>) {
    if config.etcd_certfile.is_some() != config.etcd_keyfile.is_some() {
        errors.push(
            "etcd_certfile and etcd_keyfile: one is set without the other; set both or none"
                .to_owned(),
        );
    }
    if config.standalone && !config.etcd_servers.is_empty() {
        errors.push(
            "standalone: etcd_servers is set too; a machine either keeps the cluster's store itself or uses another's"
                .to_owned(),
        );
    }
    if config.insecure_listen {
        return;
    }
    let remedy = "anyone who reaches it is root on every machine; use a loopback address, or set insecure_listen=true \
                  if the network itself is trusted";
    for listen in config.listen.iter().flatten() {
        if let Listen::Tcp(address) = listen
            && !address.ip().is_loopback()
        {
            errors.push(format!(
                "listen: {address} can be reached from other machines, and {remedy}"
            ));
        }
    }
    if config.standalone && !config.standalone_listen.ip().is_loopback() {
        let address = config.standalone_listen;
        errors.push(format!(
            "standalone_listen: {address} can be reached from other machines, and {remedy}"
        ));
    }
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{value:?} is not a whole number"))
}

fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

fn text(value: &str, target: &mut Option<String>) -> Result<(), String> {
    *target = (!value.is_empty()).then(|| value.to_owned());
    Ok(())
}

fn path(value: &str, target: &mut Option<PathBuf>) -> Result<(), String> {
    *target = if value.is_empty() {
        None
    } else {
        Some(directory(value)?)
    };
    Ok(())
}

fn directory(value: &str) -> Result<PathBuf, String> {
    if value.starts_with('/') {
        Ok(PathBuf::from(value))
    } else {
        Err(format!("{value:?} is not an absolute path"))
    }
}

/// A comma list; brackets and quotes around it and its items are dropped, as deployed files have them.
fn servers(value: &str) -> Result<Vec<String>, String> {
    let mut list = Vec::new();
    for item in value.split(',') {
        let item = item.trim_matches([' ', '[', ']', '"']);
        if item.is_empty() {
            continue;
        }
        if !item.starts_with("http://") && !item.starts_with("https://") {
            return Err(format!(
                "{item:?} is not a URL: expected for example http://10.0.0.1:2379"
            ));
        }
        list.push(item.to_owned());
    }
    Ok(list)
}

fn prefix(value: &str) -> Result<String, String> {
    if value.starts_with('/') && value.len() > 1 {
        Ok(format!("{}/", value.trim_end_matches('/')))
    } else {
        Err(format!(
            "{value:?} is not a key prefix: expected for example /_coreos.com/fleet/"
        ))
    }
}

fn seconds(value: &str) -> Result<Duration, String> {
    let error = || format!("{value:?} is not a time in seconds: expected for example 1.0");
    let number: f64 = value.parse().map_err(|_| error())?;
    if !(0.05..=600.0).contains(&number) {
        return Err(format!("{value} s is outside of 0.05 to 600"));
    }
    Duration::try_from_secs_f64(number).map_err(|_| error())
}

fn public_ip(value: &str) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let address: std::net::IpAddr = value
        .parse()
        .map_err(|_| format!("{value:?} is not an IP address"))?;
    Ok(Some(address.to_string()))
}

/// `k=v,k2=v2`: split at commas, then at the first `=`; the last of a repeated key wins.
fn metadata(value: &str) -> Result<BTreeMap<String, String>, String> {
    let mut metadata = BTreeMap::new();
    for item in value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        match item.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                metadata.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            Some(_) | None => return Err(format!("{item:?} is not key=value")),
        }
    }
    Ok(metadata)
}

fn offline_start(value: &str) -> Result<OfflineStart, String> {
    if value == "never" {
        return Ok(OfflineStart::Never);
    }
    go_duration(value).map(OfflineStart::After).ok_or_else(|| {
        format!("{value:?} is not a duration: expected for example 10s or 1m30s, or never")
    })
}

fn agent_ttl(value: &str) -> Result<Duration, String> {
    let ttl = go_duration(value)
        .ok_or_else(|| format!("{value:?} is not a duration: expected for example 10s or 1m30s"))?;
    if (AGENT_TTL_MIN..=AGENT_TTL_MAX).contains(&ttl) {
        Ok(ttl)
    } else {
        Err(format!("{value} is outside of 3s to 1h"))
    }
}

/// Go's duration syntax without signs: `1m30s`, `1.5h`, `500ms`.
pub(crate) fn go_duration(value: &str) -> Option<Duration> {
    let mut rest = value;
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_length = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(total).ok()
}

fn token_limit(value: &str) -> Result<NonZeroU16, String> {
    value
        .parse()
        .map_err(|_| format!("{value:?} is not a number from 1 to 65535"))
}

fn address(value: &str) -> Result<SocketAddr, String> {
    value
        .parse()
        .map_err(|_| format!("{value:?} is not ADDRESS:PORT: expected for example 127.0.0.1:2379"))
}

fn listen(value: &str) -> Result<Vec<Listen>, String> {
    let mut list = Vec::new();
    for item in value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let listen = match (item.strip_prefix("unix://"), item.strip_prefix("tcp://")) {
            (Some(path), _) => Listen::Unix(directory(path)?),
            (None, Some(tcp)) => Listen::Tcp(address(tcp)?),
            (None, None) => {
                return Err(format!(
                    "{item:?} is not an address: expected unix:///run/fleet.sock or tcp://127.0.0.1:49153"
                ));
            }
        };
        list.push(listen);
    }
    Ok(list)
}
