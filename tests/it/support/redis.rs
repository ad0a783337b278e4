//! A real Redis: Debian's `redis-server` as a child process, on a port of its own.

use super::programs::missing;
use super::temp::TempDir;
use super::wait;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set to `required` where a missing `redis-server` is a failure, as it is in CI.
const VARIABLE: &str = "SIDEGATE_TEST_REDIS";

/// A running server. Its memory goes away with it.
#[derive(Debug)]
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    extra: Vec<String>,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one. None, and loudly so, where the program is missing; a failure if it must not be.
    #[track_caller]
    pub fn start(test: &str) -> Option<Self> {
        Self::start_with(test, &[])
    }

    /// The same with further arguments.
    #[track_caller]
    pub fn start_with(test: &str, extra: &[&str]) -> Option<Self> {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if found.is_err() {
            missing(test, "redis-server", "redis-server", VARIABLE);
            return None;
        }
        let port = Self::free_port();
        let extra = extra.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { child: None, port, extra, dir: TempDir::new() };
        server.run();
        Some(server)
    }

    /// A port that nobody listens on.
    pub fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// Starts it (again), empty, on the same port.
    #[track_caller]
    pub fn run(&mut self) {
        let arguments = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"];
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string()])
            .args(arguments)
            .args(&self.extra)
            .current_dir(self.dir.file(""))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let address = ("127.0.0.1", self.port);
        wait::until_true("redis-server listens", || TcpStream::connect(address).is_ok());
    }

    /// Ends it at once; what it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it where it stands: connections stay open, and nothing is answered.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    #[track_caller]
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    #[track_caller]
    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// One command, as anybody else might give it: words without spaces. The answer as it came, errors included.
    #[track_caller]
    pub fn command(&self, words: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(format!("{words}\r\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        answer(&mut reader)
    }
}

/// Lists one element a line.
fn answer(reader: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let line = line.trim_end();
    let count = |text: &str| text.parse::<i64>().unwrap();
    if let Some(length) = line.strip_prefix('$').map(count) {
        if length < 0 {
            return String::new();
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap() + 2];
        reader.read_exact(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - 2);
        return String::from_utf8(bytes).unwrap();
    }
    if let Some(length) = line.strip_prefix('*').map(count) {
        let items: Vec<String> = (0..length).map(|_| answer(reader)).collect();
        return items.join("\n");
    }
    line.strip_prefix(['+', ':']).unwrap_or(line).to_owned()
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
