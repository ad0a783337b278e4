//! The connection to a real Redis: commands, scripts, and a server that goes away and comes back.

use crate::support::certificates::Certificates;
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::temp::TempDir;
use crate::support::wait;
use sidegate::redis::{Address, Redis, Script, Settings, Unavailable, Value, cmd};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_millis(500);

/// A handle, and a runtime to ask from.
fn open(server: &RedisServer) -> (Arc<Redis>, tokio::runtime::Runtime) {
    open_at(&server.url(), None)
}

fn open_at(url: &str, authorities: Option<Vec<u8>>) -> (Arc<Redis>, tokio::runtime::Runtime) {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let settings = Settings {
        address: Address::parse(url, authorities).unwrap(),
        connect_timeout: Duration::from_secs(5),
        timeout: TIMEOUT,
        prefix: "test:".into(),
    };
    let (redis, running) = Redis::open(settings);
    // As in the gate: the actor has a thread, and whoever asks has another one.
    let control = runtime();
    std::thread::spawn(move || control.block_on(running));
    (redis, runtime())
}

fn await_up(redis: &Redis) {
    wait::until_true("Redis is up", || redis.figures().is_up());
}

#[test]
fn scripts_are_sent_in_full_only_once() {
    let Some(server) = RedisServer::start("scripts_are_sent_in_full_only_once") else { return };
    let (redis, runtime) = open(&server);
    await_up(&redis);
    let script = Script::new("return {KEYS[1], ARGV[1], redis.call('incr', KEYS[1])}");
    let call = || runtime.block_on(redis.evaluate(&script, &[redis.key("n")], &["a b"]));
    for count in 1..=3 {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        assert_eq!(call(), Ok(Value::Array(vec![text("test:n"), text("a b"), Value::Int(count)])));
    }
    let stats = server.command("INFO commandstats");
    assert!(stats.contains("cmdstat_eval:calls=1,"), "{stats}");
    assert!(stats.contains("cmdstat_evalsha:calls=3,"), "{stats}");
    server.command("SCRIPT FLUSH");
    call().unwrap();
}

#[test]
fn many_commands_share_one_connection() {
    let Some(server) = RedisServer::start("many_commands_share_one_connection") else { return };
    let (redis, runtime) = open(&server);
    await_up(&redis);
    let answers = runtime.block_on(futures_util::future::join_all((0..1000).map(|_| {
        let mut command = cmd("INCR");
        command.arg("n");
        redis.run(command)
    })));
    let expected: Vec<_> = (1..=1000).map(|number| Ok(Value::Int(number))).collect();
    assert_eq!(answers, expected);
    assert_eq!(server.command("GET n"), "1000");
    let clients = server.command("CLIENT LIST TYPE normal");
    assert_eq!(clients.lines().count(), 2, "ours and this command's: {clients}");
}

#[test]
fn a_server_that_dies_is_told_at_once_and_found_again() {
    let Some(mut server) = RedisServer::start("a_server_that_dies_is_told_at_once_and_found_again") else {
        return;
    };
    let (redis, runtime) = open(&server);
    await_up(&redis);
    server.kill();
    wait::until_true("Redis is away", || !redis.figures().is_up());
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(runtime.block_on(redis.run(cmd("PING"))), Err(Unavailable));
    }
    assert!(started.elapsed() < TIMEOUT);
    server.run();
    let started = Instant::now();
    await_up(&redis);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    runtime.block_on(redis.run(cmd("PING"))).unwrap();
}

#[test]
fn a_server_that_hangs_costs_a_timeout_and_then_nothing() {
    let Some(server) = RedisServer::start("a_server_that_hangs_costs_a_timeout_and_then_nothing") else {
        return;
    };
    let (redis, runtime) = open(&server);
    await_up(&redis);
    server.freeze();
    let started = Instant::now();
    let asked = (0..20).map(|_| redis.run(cmd("PING")));
    let answers = runtime.block_on(futures_util::future::join_all(asked));
    assert!(answers.iter().all(Result::is_err));
    assert!(started.elapsed() < TIMEOUT * 2, "{:?}", started.elapsed());
    wait::until_true("Redis is away", || !redis.figures().is_up());
    let started = Instant::now();
    assert_eq!(runtime.block_on(redis.run(cmd("PING"))), Err(Unavailable));
    assert!(started.elapsed() < TIMEOUT / 2);
    server.thaw();
    await_up(&redis);
    runtime.block_on(redis.run(cmd("PING"))).unwrap();
}

#[test]
fn a_password_is_needed_and_a_wrong_one_is_no_connection() {
    let name = "a_password_is_needed_and_a_wrong_one_is_no_connection";
    let Some(server) = RedisServer::start_with(name, &["--requirepass", "hunter2"]) else { return };
    let at = |password: &str| format!("redis://:{password}@127.0.0.1:{}/1", server.port());
    let (redis, runtime) = open_at(&at("hunter2"), None);
    await_up(&redis);
    runtime.block_on(redis.run(cmd("PING"))).unwrap();
    for url in [at("hunter3"), server.url()] {
        let (redis, runtime) = open_at(&url, None);
        assert_eq!(runtime.block_on(redis.run(cmd("PING"))), Err(Unavailable));
        assert!(!redis.figures().is_up());
    }
}

#[test]
fn tls_trusts_the_named_authority_and_no_other() {
    let name = "tls_trusts_the_named_authority_and_no_other";
    let (dir, ours, theirs) = (TempDir::new(), Certificates::new(), Certificates::new());
    ours.write_to(&dir);
    let path = |file: &str| dir.file(file).to_str().unwrap().to_owned();
    let port = RedisServer::free_port();
    let arguments = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("server.pem"),
        "--tls-key-file",
        &path("server.key"),
        "--tls-ca-cert-file",
        &path("ca.pem"),
        "--tls-auth-clients",
        "no",
    ];
    let Some(_server) = RedisServer::start_with(name, &arguments) else { return };
    let url = format!("rediss://localhost:{port}");
    let (redis, runtime) = open_at(&url, Some(ours.ca.clone().into_bytes()));
    await_up(&redis);
    runtime.block_on(redis.run(cmd("PING"))).unwrap();
    for authorities in [Some(theirs.ca.clone().into_bytes()), None] {
        let (redis, runtime) = open_at(&url, authorities);
        assert_eq!(runtime.block_on(redis.run(cmd("PING"))), Err(Unavailable));
        assert!(!redis.figures().is_up());
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_told_without_the_password() {
    let service = Service::ok("");
    let cases = [
        ("[redis]\n", "there is no url"),
        ("[redis]\nurl = \"redis://u:hunter2@h:6379\"", "redis.url: the password stands in the file"),
        ("[redis]\nurl = \"http://h\"", "redis.url: this is not the URL of a Redis server"),
        ("[redis]\nurl = \"redis://h\"\nurl_env = \"REDIS_URL\"", "there is more than one URL"),
        ("[redis]\nurl_env = \"REDIS_URL\"\nurl_file = \"x\"", "there are both url_env and url_file"),
        ("[redis]\nurl_env = \"REDIS_NONE\"", "REDIS_NONE is not set"),
        ("[redis]\nurl_env = \"REDIS_URL\"\nca_file = \"none.pem\"", "redis.ca_file:"),
        ("[redis]\nurl_env = \"REDIS_ODD\"", "redis.url_env: this is not the URL of a Redis server"),
        ("[redis]\nurl_env = \"REDIS_INSECURE\"", "would trust any certificate"),
        ("[revocation]\nattributes = [\"sid\", \"sid\"]", "\"sid\" is there already"),
        ("[revocation]\nattributes = [\"logout\"]", "this name is sidegate's own"),
        ("[revocation]\nattributes = []", "is empty"),
        ("[revocation]\ntoken = \"0123456789abcdef\"", "token"),
    ];
    for (tables, expected) in cases {
        let refused = Setup::public(&service)
            .with(&format!("\n{tables}"))
            .env("REDIS_URL", "redis://u:hunter2@h:6379")
            .env("REDIS_ODD", "redis://u:hunter2@h:port")
            .env("REDIS_INSECURE", "rediss://u:hunter2@h/#insecure")
            .refused();
        assert_eq!(refused.code, Some(78), "{tables}: {}", refused.text);
        assert!(refused.text.contains(expected), "{tables}: {}", refused.text);
        let shown = refused.text.replace("url = \"redis://u:hunter2@h:6379\"", "");
        assert!(!shown.contains("hunter2"), "{tables}: {}", refused.text);
    }
}
