//! PURE. Reads the options of `[X-Fleet]` that say what becomes of a unit on a machine that is cut off: `OnDisconnect=`,
//! `Exclusive=`.

use crate::OnDisconnect;
use crate::error::ErrorKind;
use crate::x_fleet::XFleetKey;
use crate::x_fleet_reader::{Occurrence, Reader};

/// What these options demand.
pub(crate) struct Policy {
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) exclusive: bool,
}

impl Reader<'_> {
    /// What these options demand. A unit that is both exclusive and something that contradicts it is not exclusive: whoever reads
    /// a stored unit then does to it what fleet does to every other.
    pub(crate) fn policy<'t>(
        &mut self,
        get: impl Fn(XFleetKey) -> &'t [Occurrence],
        global: bool,
    ) -> Policy {
        let written = get(XFleetKey::OnDisconnect);
        let on_disconnect = self.value(
            XFleetKey::OnDisconnect,
            written,
            "keep, the only policy there is",
            parse_on_disconnect,
        );
        let texts = get(XFleetKey::Exclusive);
        let mut exclusive = self.truth(XFleetKey::Exclusive, texts);
        let line = texts.last().map_or(0, |last| last.line);
        if exclusive && global {
            let hint =
                "Remove one: a global unit runs on every machine, an exclusive one never on two";
            self.error(line, ErrorKind::ExclusiveAndGlobal, hint);
            exclusive = false;
        }
        if exclusive && on_disconnect == Some(OnDisconnect::Keep) {
            let hint = "Remove one: an exclusive unit is stopped on a machine that is cut off";
            self.error(line, ErrorKind::ExclusiveAndKept, hint);
            exclusive = false;
        }
        Policy {
            on_disconnect: on_disconnect.unwrap_or_default(),
            exclusive,
        }
    }
}

fn parse_on_disconnect(text: &str) -> Option<OnDisconnect> {
    (text == "keep").then_some(OnDisconnect::Keep)
}
