//! `fleetctl fd-forward`: joins stdin and stdout to a unix socket. Run at the far end of a tunnel by another fleetctl, where sshd
//! does not forward to sockets.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use crate::error::{CommandError, Kind};

/// Bytes that are passed on at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Proxy stdin and stdout to a unix domain socket.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The socket
    #[arg(value_name = "SOCKET", value_hint = clap::ValueHint::Other)]
    sockets: Vec<PathBuf>,
}

/// Passes bytes on in both directions until the socket's end has said all.
pub(crate) fn run(args: &Args) -> Result<(), CommandError> {
    let [path] = args.sockets.as_slice() else {
        return Err(CommandError::new(Kind::Usage, "Provide a single argument"));
    };
    let failed = |text: &str, error: &io::Error| {
        CommandError::new(Kind::Outcome, format!("{text}: {error}"))
    };
    let dialling = |error| failed("Failed dialing remote address", &error);
    let copying = |error| failed("Encountered error during copy", &error);
    let socket = UnixStream::connect(path).map_err(dialling)?;
    let mut to_socket = socket.try_clone().map_err(dialling)?;
    let (ended, ends) = mpsc::channel();
    let also_ended = ended.clone();
    // Whichever is left reading when all is said ends with the process. stdin may end before the answer is there.
    thread::spawn(move || {
        let copied = copy(&mut io::stdin().lock(), &mut to_socket)
            .and_then(|()| to_socket.shutdown(Shutdown::Write));
        match copied {
            Ok(()) => Ok(()),
            Err(error) => also_ended.send(Err(error)),
        }
    });
    thread::spawn(move || ended.send(copy(&mut &socket, &mut io::stdout().lock())));
    match ends.recv() {
        Ok(Ok(())) | Err(_) => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Ok(Err(error)) => Err(copying(error)),
    }
}

/// Passes each piece on as it comes: an answer must not wait for the next.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                to.write_all(&chunk[..length])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
