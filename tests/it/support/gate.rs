//! The gate as users run it: a child process with a configuration file. Nothing else knows how it is started,
//! what it logs and where its metrics are.

use super::client::{Client, Reply};
use super::metrics::Metrics;
use super::request::get;
use super::setup::Setup;
use super::wait::{self, PATIENCE};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Runs `sidegate` with these arguments to its end.
#[track_caller]
pub fn sidegate(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

/// Runs `sidegate` with these arguments, these variables and this standard input to its end.
#[track_caller]
pub fn sidegate_with(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut command = command();
    command.args(arguments).envs(environment.iter().copied());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who does not read its input has ended already.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    // What the developer's shell has must not change a verdict.
    for name in ["SIDEGATE_CONFIG", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// How a gate that did not start ended.
#[derive(Debug)]
pub struct Refusal {
    pub code: Option<i32>,
    /// Standard output and standard error.
    pub text: String,
}

/// A running gate.
#[derive(Debug)]
pub struct Gate {
    child: Mutex<Child>,
    id: u32,
    lines: Arc<Mutex<Vec<String>>>,
    paused: Arc<AtomicBool>,
    servers: Vec<String>,
    admin: String,
    /// Its configuration and files.
    pub setup: Setup,
}

impl Gate {
    /// Starts `sidegate run` and waits for the line that says where it listens.
    pub fn start(setup: Setup) -> Result<Self, Refusal> {
        let path = setup.write();
        let mut child = command()
            .args([Path::new("run"), Path::new("--config"), &path])
            .args(&setup.arguments)
            .envs(setup.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let paused = Arc::new(AtomicBool::new(false));
        let readers = [
            collect(child.stdout.take().unwrap(), &lines, &paused),
            collect(child.stderr.take().unwrap(), &lines, &paused),
        ];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = listening(&lines.lock().unwrap());
            if let Some((servers, admin)) = found {
                let id = child.id();
                return Ok(Self { child: Mutex::new(child), id, lines, paused, servers, admin, setup });
            }
            if let Some(status) = child.try_wait().unwrap() {
                for reader in readers {
                    reader.join().unwrap();
                }
                let text = lines.lock().unwrap().join("\n");
                return Err(Refusal { code: status.code(), text });
            }
            if Instant::now() > deadline {
                child.kill().ok();
                panic!("the gate does not say that it listens: {:?}", lines.lock().unwrap());
            }
            wait::let_pass(Duration::from_millis(2));
        }
    }

    /// `host:port` of `[server]`.
    pub fn address(&self) -> &str {
        &self.servers[0]
    }

    /// `host:port` of `[admin]`.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// Everything it printed so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Nobody reads any more what it prints.
    pub fn stop_reading(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    /// Log lines that are JSON objects.
    pub fn log(&self) -> Vec<Value> {
        self.log_lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The access log's line about the request that this is the response to.
    #[track_caller]
    pub fn access(&self, reply: &Reply) -> Value {
        self.access_where("request_id", &reply.request_id())
    }

    /// The access log's line about the latest request with this canonical path.
    #[track_caller]
    pub fn access_to(&self, path: &str) -> Value {
        self.access_where("path", path)
    }

    #[track_caller]
    fn access_where(&self, field: &str, value: &str) -> Value {
        wait::until(&format!("an access log line with {field} = {value}"), || {
            let lines = self.log();
            lines.into_iter().rfind(|line| line["message"] == "request" && line[field] == value)
        })
    }

    /// Why the request was admitted or refused, as the access log has it.
    #[track_caller]
    pub fn reason(&self, reply: &Reply) -> String {
        self.access(reply)["reason"].as_str().expect("a reason").to_owned()
    }

    /// The rule that held, as the access log has it.
    #[track_caller]
    pub fn route(&self, reply: &Reply) -> String {
        self.access(reply)["route"].as_str().expect("a route").to_owned()
    }

    /// A scrape of `/metrics`.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&get("/metrics").send_admin(self).expect(200, "/metrics").text())
    }

    /// The sum of the samples of `sidegate_<name>` with these labels.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().sum(name, labels)
    }

    /// Waits until a metric has this value.
    #[track_caller]
    pub fn wait_metric(&self, name: &str, labels: &[(&str, &str)], value: usize) {
        wait::until_true(&format!("{name} {labels:?} = {value}"), || {
            // Of no sample at all the sum is minus zero.
            format!("{:.0}", self.metric(name, labels) + 0.0) == value.to_string()
        });
    }

    /// The status of `/readyz`.
    #[track_caller]
    pub fn readiness(&self) -> u16 {
        get("/readyz").send_admin(self).status
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        wait::until_true("/readyz is 200", || self.readiness() == 200);
    }

    /// A connection to `[server]`.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Peak resident memory so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.memory_figure("VmHWM:")
    }

    /// Resident memory now, in bytes.
    pub fn memory(&self) -> u64 {
        self.memory_figure("VmRSS:")
    }

    fn memory_figure(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// How long each worker's thread has run on a processor.
    pub fn worker_times(&self) -> Vec<Duration> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id)).unwrap();
        let threads = threads.map(|thread| thread.unwrap().path());
        let time = |thread: PathBuf| {
            let name = std::fs::read_to_string(thread.join("comm")).unwrap();
            let number = name.trim().strip_prefix("sidegate-")?.parse::<usize>().ok()?;
            let times = std::fs::read_to_string(thread.join("schedstat")).unwrap();
            let nanoseconds = times.split(' ').next().unwrap().parse().unwrap();
            Some((number, Duration::from_nanos(nanoseconds)))
        };
        let mut times: Vec<_> = threads.filter_map(time).collect();
        times.sort_unstable();
        times.into_iter().map(|(_, time)| time).collect()
    }

    /// Replaces its configuration file by an edited one, at once and as a whole, without telling it.
    pub fn edit(&self, edit: impl Fn(&str) -> String) {
        let text = std::fs::read_to_string(self.setup.dir.file("config.toml")).unwrap();
        self.setup.dir.write("config.toml", edit(&text));
    }

    /// How often the configuration was read again, well and in vain.
    #[track_caller]
    pub fn reloads(&self) -> (usize, usize) {
        let count = |result| format!("{:.0}", self.metric("config_reloads_total", &[("result", result)]));
        (count("success").parse().unwrap(), count("error").parse().unwrap())
    }

    /// Edits the configuration, and waits until the gate has taken it over.
    #[track_caller]
    pub fn reload(&self, edit: impl Fn(&str) -> String) {
        let (before, _) = self.reloads();
        self.edit(edit);
        self.signal("HUP");
        wait::until_true("the configuration is read again", || self.reloads().0 > before);
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.id.to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The id of its process.
    pub const fn id(&self) -> u32 {
        self.id
    }

    pub fn exited(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }

    /// Waits for its end; the exit status, none if a signal killed it.
    #[track_caller]
    pub fn wait_exit(&self) -> Option<i32> {
        wait::until("the gate ends", || self.child.lock().unwrap().try_wait().unwrap()).code()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        child.kill().ok();
        child.wait().ok();
        let lines = self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::thread::panicking() {
            let start = lines.len().saturating_sub(40);
            eprintln!("the gate's last lines:\n{}", lines[start..].join("\n"));
        } else {
            // Whatever a test is about: no client and no service can make the gate panic.
            let panic = lines.iter().position(|line| line.contains("panicked at"));
            assert!(panic.is_none(), "the gate panicked: {:?}", &lines[panic.unwrap_or_default()..]);
        }
    }
}

fn collect(
    source: impl Read + Send + 'static,
    lines: &Arc<Mutex<Vec<String>>>,
    paused: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let (lines, paused) = (Arc::clone(lines), Arc::clone(paused));
    std::thread::spawn(move || {
        for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
            lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            while paused.load(Ordering::SeqCst) {
                std::thread::park();
            }
        }
    })
}

/// Where it listens, from `{"message":"listening","server":["127.0.0.1:1"],"admin":"127.0.0.1:2"}`.
fn listening(lines: &[String]) -> Option<(Vec<String>, String)> {
    let mut entries = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let entry = entries.find(|entry| entry["message"] == "listening")?;
    // A structured list, or a list printed into a string.
    let printed = match &entry["server"] {
        Value::String(text) => text.clone(),
        list => list.to_string(),
    };
    let servers = printed.split(['[', ']', '"', ',', ' ']).filter(|part| !part.is_empty());
    Some((servers.map(str::to_owned).collect(), entry["admin"].as_str()?.to_owned()))
}
