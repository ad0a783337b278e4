//! A connection that was accepted, before a byte of it was read.

use tokio::net::{TcpStream, UnixStream};

/// What was accepted.
#[derive(Debug)]
pub enum Accepted {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A connection on a unix socket.
    Unix(UnixStream),
}
