//! A wire that fails: a TCP relay in front of any server, which can be cut, stopped or made to talk nonsense at any moment.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the wire behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It carries everything.
    None,
    /// Every connection is reset at once.
    Down,
    /// Connections are accepted, and nothing ever comes back.
    Slow,
    /// Whatever is asked, the answer is noise.
    Garbage,
    /// Half of an answer comes, then a reset.
    Broken,
}

impl Fault {
    pub const ALL: [Self; 4] = [Self::Down, Self::Slow, Self::Garbage, Self::Broken];
}

#[derive(Debug)]
struct State {
    fault: Fault,
    open: Vec<TcpStream>,
}

/// A relay to one server.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Relay {
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { fault: Fault::None, open: Vec::new() }));
        let (shared, server) = (Arc::clone(&state), server.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (state, server) = (Arc::clone(&shared), server.clone());
                std::thread::spawn(move || relay(&client, &server, &state));
            }
        });
        Self { address, state }
    }

    /// `host:port` to connect to instead.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on; connections that are open fail as well.
    pub fn fail(&self, fault: Fault) {
        let mut state = lock(&self.state);
        state.fault = fault;
        for stream in state.open.drain(..) {
            // What is stopped stays open, and silent.
            if fault != Fault::Slow {
                cut(&stream);
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cut(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
    stream.shutdown(Shutdown::Both).ok();
}

fn relay(client: &TcpStream, server: &str, state: &Arc<Mutex<State>>) {
    client.set_nodelay(true).ok();
    let fault = {
        let mut state = lock(state);
        state.open.push(client.try_clone().unwrap());
        state.fault
    };
    let mut ignored = [0; 4096];
    match fault {
        Fault::Down => cut(client),
        Fault::Slow => while matches!((&*client).read(&mut ignored), Ok(1..)) {},
        Fault::Garbage => {
            if matches!((&*client).read(&mut ignored), Ok(1..)) {
                (&*client).write_all(&[b'\xff'; 64]).ok();
                (&*client).write_all(b"\0\r\n\r\n$-17\r\n{]").ok();
            }
            client.shutdown(Shutdown::Both).ok();
        }
        Fault::None | Fault::Broken => {
            let Ok(server) = TcpStream::connect(server) else { return cut(client) };
            server.set_nodelay(true).ok();
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let watched = Arc::clone(state);
            std::thread::spawn(move || carry(from, to, &watched));
            if fault == Fault::None {
                carry(server, client.try_clone().unwrap(), state);
            } else {
                let count = (&server).read(&mut ignored).unwrap_or_default();
                (&*client).write_all(&ignored[..count / 2]).ok();
                cut(client);
            }
        }
    }
}

/// Carries one direction until it ends, or the wire is stopped.
fn carry(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>) {
    let mut bytes = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if lock(state).fault == Fault::Slow {
            continue;
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}
