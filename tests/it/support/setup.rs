//! A gate's configuration in the making: what every test needs, and what this one adds.

use super::gate::{Gate, Refusal};
use super::idp::Idp;
use super::service::Service;
use super::temp::TempDir;
use std::path::PathBuf;

/// Everybody may come in.
pub const PUBLIC: &str = "\n[policy]\naccess = \"public\"\n";

/// The identity headers that most tests look at.
pub const IDENTITY: &str = "\n[identity.headers]\nx-customer-id = \"subject\"\n";

/// A configuration file with one upstream, `app`.
#[derive(Debug)]
pub struct Setup {
    listen: String,
    admin: String,
    admin_keys: String,
    server: String,
    upstream: String,
    rest: String,
    workers: usize,
    pub environment: Vec<(String, String)>,
    /// Further arguments of `sidegate run`.
    pub arguments: Vec<String>,
    pub dir: TempDir,
}

impl Setup {
    /// In front of this URL.
    pub fn new(url: &str) -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            admin: "127.0.0.1:0".to_owned(),
            admin_keys: String::new(),
            server: String::new(),
            upstream: format!("url = \"{url}\"\n"),
            rest: String::new(),
            workers: 1,
            environment: Vec::new(),
            arguments: Vec::new(),
            dir: TempDir::new(),
        }
    }

    /// In front of this service; everybody may come in.
    pub fn public(service: &Service) -> Self {
        Self::new(service.url()).with(PUBLIC)
    }

    /// In front of this service; who has a token of this issuer (authenticator `main`) may come in, and
    /// the service learns the subject as `x-customer-id`.
    pub fn guarded(service: &Service, idp: &Idp) -> Self {
        Self::new(service.url()).with(&idp.authenticator("main")).with(IDENTITY)
    }

    pub fn listen(mut self, listen: &str) -> Self {
        listen.clone_into(&mut self.listen);
        self
    }

    pub fn admin(mut self, listen: &str) -> Self {
        listen.clone_into(&mut self.admin);
        self
    }

    /// Adds keys to `[admin]`.
    pub fn admin_keys(mut self, keys: &str) -> Self {
        self.admin_keys.push_str(keys);
        self
    }

    /// Adds keys to `[server]`.
    pub fn server(mut self, keys: &str) -> Self {
        self.server.push_str(keys);
        self.server.push('\n');
        self
    }

    /// Adds keys to `[upstreams.app]`.
    pub fn upstream(mut self, keys: &str) -> Self {
        self.upstream.push_str(keys);
        self.upstream.push('\n');
        self
    }

    /// Adds whole tables.
    pub fn with(mut self, tables: &str) -> Self {
        self.rest.push_str(tables);
        self.rest.push('\n');
        self
    }

    /// Adds a rule: its path, and further keys.
    pub fn route(self, path: &str, keys: &str) -> Self {
        self.with(&format!("\n[[routes]]\npath = {path:?}\n{keys}\n"))
    }

    /// Adds a file beside the configuration.
    pub fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        self.dir.write(name, contents);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With one more argument of `sidegate run`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With so many workers instead of one.
    pub fn workers(mut self, number: usize) -> Self {
        self.workers = number;
        self
    }

    /// The whole file.
    pub fn text(&self) -> String {
        format!(
            "[server]\nlisten = {:?}\nworkers = {}\n{}\n[admin]\nlisten = {:?}\n{}\n\n[upstreams.app]\n{}\n{}",
            self.listen, self.workers, self.server, self.admin, self.admin_keys, self.upstream, self.rest
        )
    }

    /// Writes the file and says where.
    pub fn write(&self) -> PathBuf {
        self.dir.write("config.toml", self.text())
    }

    /// Starts the gate and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Gate {
        let gate = self.start_unready();
        gate.wait_ready();
        gate
    }

    /// Starts the gate and waits only until it listens.
    #[track_caller]
    pub fn start_unready(self) -> Gate {
        Gate::start(self).unwrap_or_else(|refusal| panic!("the gate did not start: {refusal:?}"))
    }

    /// Starts the gate, which must refuse to.
    #[track_caller]
    pub fn refused(self) -> Refusal {
        match Gate::start(self) {
            Err(refusal) => refusal,
            Ok(_) => panic!("the gate started"),
        }
    }
}
