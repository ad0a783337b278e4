//! The sockets that a gate listens on.

use crate::config::Config;
use crate::worker::Socket;
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;

/// Open sockets.
#[derive(Debug)]
pub struct Listeners {
    pub(super) sockets: Vec<Socket>,
    pub(super) admin: std::net::TcpListener,
    pub(super) admin_address: SocketAddr,
    pub(super) facade: Option<std::net::TcpListener>,
    /// Unix sockets; they go when this is dropped.
    pub(super) files: Vec<SocketFile>,
}

/// The file of a unix socket, which goes with whoever has bound it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: what stands there in the end may be somebody else's.
    made: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), made: identity(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.made.is_some() && identity(&self.path) == self.made {
            // One that cannot be removed is replaced at the next start.
            std::fs::remove_file(&self.path).ok();
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    address: String,
    source: io::Error,
}

impl Listeners {
    /// Opens what the configuration names.
    pub(super) fn bind(config: &Config) -> Result<Self, BindError> {
        let (mut sockets, mut files) = (Vec::new(), Vec::new());
        for address in config.server.listen.iter() {
            let failed = |source| BindError { address: address.clone(), source };
            match address.strip_prefix("unix:") {
                Some(path) => {
                    sockets.push(bind_unix(Path::new(path)).map_err(failed)?);
                    files.push(SocketFile::new(Path::new(path)));
                }
                None => sockets.extend(bind_tcp(address).map_err(failed)?.into_iter().map(Socket::Tcp)),
            }
        }
        let address = &config.admin.listen;
        let admin = bind_one(address)?;
        let failed = |source| BindError { address: address.clone(), source };
        let admin_address = admin.local_addr().map_err(failed)?;
        let facade = config.facade.as_ref().map(|facade| bind_one(&facade.listen)).transpose()?;
        Ok(Self { sockets, admin, admin_address, facade, files })
    }

    /// Where clients connect; unix sockets are left out.
    #[must_use]
    pub fn server_addresses(&self) -> Vec<SocketAddr> {
        let address = |socket: &Socket| match socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        };
        self.sockets.iter().filter_map(address).collect()
    }

    /// Where probes connect.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }
}

/// The first socket of an address.
fn bind_one(address: &str) -> Result<std::net::TcpListener, BindError> {
    let failed = |source| BindError { address: address.to_owned(), source };
    let socket = bind_tcp(address).map_err(failed)?.into_iter().next();
    socket.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))
}

fn bind_tcp(address: &str) -> io::Result<Vec<std::net::TcpListener>> {
    let mut listeners = Vec::new();
    for address in address.to_socket_addrs()? {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        listeners.push(socket.into());
    }
    Ok(listeners)
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    // A socket that nobody listens on was left behind by a process that is gone. Any other error says nothing of the kind.
    let is_refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(is_refused) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Unix(listener))
}
