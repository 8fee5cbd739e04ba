//! PURE. How a process ended, in systemd's words (`man 5 systemd.exec`, "Process Exit Codes").

/// `si_code` of a process that exited by itself, was killed, was killed and left a core.
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const DUMPED: i32 = 3;

/// What systemd itself makes a process exit with before it runs the unit's command.
const NAMES: [(i32, &str); 43] = [
    (1, "FAILURE"),
    (200, "CHDIR"),
    (201, "NICE"),
    (202, "FDS"),
    (203, "EXEC"),
    (204, "MEMORY"),
    (205, "LIMITS"),
    (206, "OOM_ADJUST"),
    (207, "SIGNAL_MASK"),
    (208, "STDIN"),
    (209, "STDOUT"),
    (210, "CHROOT"),
    (211, "IOPRIO"),
    (212, "TIMERSLACK"),
    (213, "SECUREBITS"),
    (214, "SETSCHEDULER"),
    (215, "CPUAFFINITY"),
    (216, "GROUP"),
    (217, "USER"),
    (218, "CAPABILITIES"),
    (219, "CGROUP"),
    (220, "SETSID"),
    (221, "CONFIRM"),
    (222, "STDERR"),
    (224, "PAM"),
    (225, "NETWORK"),
    (226, "NAMESPACE"),
    (227, "NO_NEW_PRIVILEGES"),
    (228, "SECCOMP"),
    (229, "SELINUX_CONTEXT"),
    (230, "PERSONALITY"),
    (231, "APPARMOR_PROFILE"),
    (232, "ADDRESS_FAMILIES"),
    (233, "RUNTIME_DIRECTORY"),
    (235, "CHOWN"),
    (236, "SMACK_PROCESS_LABEL"),
    (237, "KEYRING"),
    (238, "STATE_DIRECTORY"),
    (239, "CACHE_DIRECTORY"),
    (240, "LOGS_DIRECTORY"),
    (241, "CONFIGURATION_DIRECTORY"),
    (242, "NUMA_POLICY"),
    (243, "CREDENTIALS"),
];

/// How the main process ended; none if it did not run or ended well.
pub(super) fn describe(code: i32, status: i32) -> Option<String> {
    match code {
        EXITED if status != 0 => Some(match NAMES.iter().find(|(number, _)| *number == status) {
            Some((number, name)) => format!("status {number}/{name}"),
            None => format!("status {status}"),
        }),
        KILLED => Some(format!("signal {status}")),
        DUMPED => Some(format!("signal {status}, core dumped")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_as_systemctl_status_does() {
        assert_eq!(describe(1, 203).as_deref(), Some("status 203/EXEC"));
        assert_eq!(describe(1, 42).as_deref(), Some("status 42"));
        assert_eq!(describe(2, 9).as_deref(), Some("signal 9"));
        assert_eq!(describe(1, 0), None);
        assert_eq!(describe(0, 0), None);
    }
}
