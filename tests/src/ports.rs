//! Ports for what must know its port before it starts.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Ports that were given out in this process: the system may name one again as long as nobody listens there.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of 127.0.0.1 that nobody has now, and that nobody else in this process is given.
///
/// # Panics
/// There is none.
pub fn free() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("the address of a listener").port();
        if GIVEN.lock().expect("ports").insert(port) {
            return port;
        }
    }
}
