//! systemd's D-Bus interfaces, as far as we call them. The names are systemd's own (`man 5 org.freedesktop.systemd1`).

use zbus::wire::{ObjectPath, OwnedObjectPath};

/// One (type, link, destination) that enabling or disabling changed.
pub(super) type InstallChange = (String, String, String);

/// A unit as systemd lists it: name, description, load, active and sub state, the unit it follows, its object; number, type and
/// object of its job.
pub(super) type ListedUnit = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn list_units_by_names(&self, names: &[&str]) -> zbus::Result<Vec<ListedUnit>>;
    #[zbus(name = "GetUnitByPID")]
    fn get_unit_by_pid(&self, pid: u32) -> zbus::Result<OwnedObjectPath>;
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<InstallChange>)>;
    fn disable_unit_files(&self, files: &[&str], runtime: bool)
    -> zbus::Result<Vec<InstallChange>>;
    fn reload(&self) -> zbus::Result<()>;
    fn subscribe(&self) -> zbus::Result<()>;
    fn get_job(&self, id: u32) -> zbus::Result<OwnedObjectPath>;

    #[zbus(property)]
    fn unit_path(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn system_state(&self) -> zbus::Result<String>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1"
)]
pub(super) trait Unit {
    #[zbus(property)]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;
    #[zbus(property)]
    fn need_daemon_reload(&self) -> zbus::Result<bool>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Job",
    default_service = "org.freedesktop.systemd1"
)]
pub(super) trait Job {
    #[zbus(property)]
    fn job_type(&self) -> zbus::Result<String>;
}

/// The object path under which systemd knows a unit.
pub(super) fn unit_object(name: &str) -> ObjectPath<'static> {
    ObjectPath::from_string_unchecked(format!("{UNIT_OBJECTS}/{}", escape(name)))
}

/// Where systemd's unit objects are.
pub(super) const UNIT_OBJECTS: &str = "/org/freedesktop/systemd1/unit";

/// The name of the unit at an object path; none if the path is no unit's.
pub(super) fn unit_of_object(path: &str) -> Option<String> {
    unescape(path.strip_prefix(UNIT_OBJECTS)?.strip_prefix('/')?)
}

/// systemd's `bus_label_escape`: everything but letters and digits, and a digit in front, as `_xx`.
fn escape(label: &str) -> String {
    if label.is_empty() {
        return "_".to_owned();
    }
    let mut escaped = String::with_capacity(label.len() * 2);
    for (index, byte) in label.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("_{byte:02x}"));
        }
    }
    escaped
}

fn unescape(label: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(label.len());
    let mut rest = label.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'_' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_paths_are_those_of_systemd() {
        // As shown by `busctl tree` on systemd 252.
        for (name, label) in [
            ("web@1.service", "web_401_2eservice"),
            ("1a-b_c.service", "_31a_2db_5fc_2eservice"),
            (r"a\x2db.mount", "a_5cx2db_2emount"),
        ] {
            let path = unit_object(name);
            assert_eq!(path.as_str(), format!("{UNIT_OBJECTS}/{label}"));
            assert_eq!(unit_of_object(path.as_str()).as_deref(), Some(name));
        }
        assert_eq!(unit_of_object("/org/freedesktop/systemd1/job/1"), None);
        assert_eq!(unit_of_object("/org/freedesktop/systemd1/unit/a_2"), None);
    }
}
