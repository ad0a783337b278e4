//! `sidegate healthcheck`: whether the gate on this machine is ready, for images without curl.

use crate::config::load::{LoadError, load};
use crate::console::{Console, Status};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error("{0}: no such file")]
    Missing(String),
    #[error("{0} is no usable configuration; `sidegate check` says why")]
    Invalid(String),
    #[error("{address} cannot be reached: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("{address} does not answer: {source}")]
    Failed { address: String, source: hyper::Error },
    #[error("{address} did not answer within {PATIENCE:?}")]
    Slow { address: String },
    #[error("not ready: {address} answered {status}")]
    Refused { address: String, status: StatusCode },
    #[error("{0:?} is no address")]
    Address(String),
}

/// Asks `/readyz`; says nothing when all is well, and one line when it is not.
pub(super) fn healthcheck(file: &Path, console: &mut Console<'_>) -> Status {
    match ready(file) {
        Ok(()) => Status::Well,
        Err(reason) => {
            console.complain(format_args!("sidegate: {reason}"));
            Status::Failed
        }
    }
}

fn ready(file: &Path) -> Result<(), NotReady> {
    let name = || file.display().to_string();
    let loaded = load(file, |name| std::env::var(name).ok()).map_err(|error| match error {
        LoadError::Unreadable { .. } => NotReady::Missing(name()),
        LoadError::Invalid { .. } => NotReady::Invalid(name()),
    })?;
    let address = reachable(&loaded.config.admin.listen);
    let unreachable = |source| NotReady::Unreachable { address: address.clone(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unreachable)?;
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(&address)).await });
    answer.unwrap_or(Err(NotReady::Slow { address }))
}

/// A listener on every address is asked through loopback.
fn reachable(listen: &str) -> String {
    let Ok(mut address) = listen.parse::<SocketAddr>() else { return listen.to_owned() };
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address.to_string()
}

async fn ask(address: &str) -> Result<(), NotReady> {
    let failed = |source| NotReady::Failed { address: address.to_owned(), source };
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| NotReady::Unreachable { address: address.to_owned(), source })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::get("/readyz")
        .header(header::HOST, address)
        .body(Empty::<Bytes>::new())
        .map_err(|_| NotReady::Address(address.to_owned()))?;
    // The connection has to be driven for the answer to arrive; it ends with this runtime.
    drop(tokio::spawn(connection));
    let status = sender.send_request(request).await.map_err(failed)?.status();
    if status == StatusCode::OK {
        Ok(())
    } else {
        Err(NotReady::Refused { address: address.to_owned(), status })
    }
}

#[cfg(test)]
mod tests {
    use super::{NotReady, healthcheck, reachable, ready};
    use crate::console::{Console, Status};
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::path::PathBuf;

    /// A configuration whose admin listener is `address`.
    fn configuration(name: &str, address: &str) -> PathBuf {
        let file = std::env::temp_dir().join(format!("sidegate-{}-{name}.toml", std::process::id()));
        let text =
            format!("[admin]\nlisten = \"{address}\"\n[upstreams.app]\nurl = \"http://127.0.0.1:1\"\n");
        std::fs::write(&file, text).unwrap();
        file
    }

    fn ask_one_that_answers(name: &str, answer: &'static str) -> Result<(), NotReady> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = configuration(name, &listener.local_addr().unwrap().to_string());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let verdict = ready(&file);
        std::fs::remove_file(file).unwrap();
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
        verdict
    }

    #[test]
    fn ready_is_silence() {
        ask_one_that_answers("ready", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }

    #[test]
    fn not_ready_is_said_in_one_line() {
        let verdict =
            ask_one_that_answers("unready", "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
        let line = verdict.unwrap_err().to_string();
        assert!(line.starts_with("not ready: 127.0.0.1:"), "{line}");
        assert!(line.ends_with(" answered 503 Service Unavailable"), "{line}");
    }

    #[test]
    fn one_that_hangs_up_does_not_answer() {
        assert!(matches!(ask_one_that_answers("rude", ""), Err(NotReady::Failed { .. })));
    }

    #[test]
    fn nobody_there_and_no_file_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = configuration("gone", &listener.local_addr().unwrap().to_string());
        drop(listener);
        assert!(matches!(ready(&file), Err(NotReady::Unreachable { .. })));
        std::fs::remove_file(&file).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(healthcheck(&file, &mut Console::new(&mut out, &mut err)), Status::Failed);
        assert_eq!(String::from_utf8(err).unwrap().lines().count(), 1);
        assert!(out.is_empty());
    }

    #[test]
    fn every_address_is_asked_through_loopback() {
        assert_eq!(reachable("0.0.0.0:9090"), "127.0.0.1:9090");
        assert_eq!(reachable("[::]:9090"), "[::1]:9090");
        assert_eq!(reachable("10.1.2.3:9090"), "10.1.2.3:9090");
        assert_eq!(reachable("localhost:9090"), "localhost:9090");
    }
}
