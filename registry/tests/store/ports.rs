//! Ports for what a test starts itself and tells where to listen: no other test and no connection is given the same one.
//!
//! A port from `bind(0)` may be handed out again as soon as it is let go, to another `bind(0)` or to a connection, before
//! the process that it was meant for listens.

use std::io;
use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// The lowest; below are the ports of well-known services.
const FIRST: u16 = 20_000;

/// How many there are: all below 32768, where Linux begins to choose by itself (`ip_local_port_range`).
const COUNT: u16 = 12_000;

/// How far apart two processes with successive ids begin: more than one of them starts.
const APART: u32 = 100;

/// Counts what this process has asked for.
static ASKED: AtomicU16 = AtomicU16::new(0);

/// Nobody listens at it, and this process has not been given it before.
pub(crate) fn free_port() -> io::Result<u16> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let port = candidate(ASKED.fetch_add(1, Ordering::Relaxed));
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) if attempt == COUNT => return Err(error),
            Err(_) => {}
        }
    }
}

fn candidate(number: u16) -> u16 {
    let begin = (process::id() % (u32::from(COUNT) / APART)) * APART;
    let offset = (begin + u32::from(number)) % u32::from(COUNT);
    FIRST + u16::try_from(offset).unwrap_or_default()
}
