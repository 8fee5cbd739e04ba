//! What an error on the bus means: systemd refused, it is not there, or it did not answer in time.

use std::io::ErrorKind;

use model::ServiceError;
use unitfile::UnitName;

use super::link::ANSWER_LIMIT;

/// How systemd says that it has no such unit, also of one that another requires.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// The error for a call that asked for `what`.
pub(super) fn refused(what: &str, error: &zbus::Error) -> ServiceError {
    let unreachable = || ServiceError::Unreachable {
        message: error.to_string(),
    };
    match error {
        zbus::Error::InputOutput(source) if source.kind() == ErrorKind::TimedOut => {
            ServiceError::TimedOut {
                what: what.to_owned(),
                limit_s: ANSWER_LIMIT.as_secs(),
            }
        }
        zbus::Error::InputOutput(_) | zbus::Error::Connection(_, _) | zbus::Error::Handshake(_) => {
            unreachable()
        }
        zbus::Error::FDO(source) => match &**source {
            zbus::fdo::Error::ServiceUnknown(_)
            | zbus::fdo::Error::NameHasNoOwner(_)
            | zbus::fdo::Error::NoReply(_)
            | zbus::fdo::Error::Disconnected(_)
            | zbus::fdo::Error::NoServer(_)
            | zbus::fdo::Error::Timeout(_)
            // The bus has no room for the call now: systemd has not heard of it.
            | zbus::fdo::Error::LimitsExceeded(_)
            | zbus::fdo::Error::NoMemory(_) => unreachable(),
            other => ServiceError::Refused {
                message: other.to_string(),
            },
        },
        zbus::Error::MethodError(name, message, _) => {
            let message = message.as_deref().unwrap_or("no reason given");
            match name.as_str() == NO_SUCH_UNIT {
                true => ServiceError::NotFound {
                    message: message.to_owned(),
                },
                false => ServiceError::Refused {
                    message: format!("{message} ({name})"),
                },
            }
        }
        other => ServiceError::Refused {
            message: other.to_string(),
        },
    }
}

/// Whether systemd refused because it knows no such job.
pub(super) fn is_no_such_job(error: &ServiceError) -> bool {
    is_refusal(error, "NoSuchJob")
}

/// The error in our words where there is one for it.
pub(super) fn of_unit(name: &UnitName, error: ServiceError) -> ServiceError {
    if is_refusal(&error, "UnitMasked") {
        return ServiceError::Masked { unit: name.clone() };
    }
    error
}

fn is_refusal(error: &ServiceError, kind: &str) -> bool {
    matches!(error, ServiceError::Refused { message }
        if message.ends_with(&format!("(org.freedesktop.systemd1.{kind})")))
}
