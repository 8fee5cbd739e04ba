//! fleetctl: the command line client. All of it is in the crate `ctl`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ctl::main()
}
