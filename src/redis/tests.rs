#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

use super::{Address, AddressError, Redis, Settings, Unavailable, Value, cmd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const TIMEOUT: Duration = Duration::from_millis(200);

fn open(address: &str) -> Arc<Redis> {
    let settings = Settings {
        address: Address::parse(&format!("redis://{address}"), None).unwrap(),
        connect_timeout: Duration::from_secs(2),
        timeout: TIMEOUT,
        prefix: "p:".into(),
    };
    let (redis, running) = Redis::open(settings);
    tokio::spawn(running);
    redis
}

async fn until_up(redis: &Redis) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !redis.figures().is_up() {
        assert!(Instant::now() < deadline, "Redis never came up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server that answers each command, an array of bulk strings, with what `answer` says; none = not at all.
async fn serve(mut stream: TcpStream, answer: impl Fn(&[String]) -> Option<String>) {
    let mut read = Vec::new();
    loop {
        while let Some((command, length)) = parse(&String::from_utf8_lossy(&read)) {
            read.drain(..length);
            if let Some(answer) = answer(&command) {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => read.extend_from_slice(&buffer[..length]),
        }
    }
}

fn parse(text: &str) -> Option<(Vec<String>, usize)> {
    let mut lines = text.split_inclusive("\r\n");
    let head = lines.next()?;
    let count: usize = head.strip_prefix('*')?.trim().parse().ok()?;
    let mut length = head.len();
    let mut command = Vec::new();
    for _ in 0..count {
        let (size, word) = (lines.next()?, lines.next()?);
        length += size.len() + word.len();
        command.push(word.trim_end().to_owned());
    }
    text.ends_with("\r\n").then_some((command, length))
}

fn pong(command: &[String]) -> Option<String> {
    (command[0] == "PING").then(|| "+PONG\r\n".to_owned())
}

#[test]
fn addresses_are_read_strictly_and_shown_to_nobody() {
    for url in ["redis://127.0.0.1", "redis://h:1/3", "unix:///run/redis.sock", "rediss://u:p@h"] {
        Address::parse(url, None).unwrap();
    }
    for url in ["", "h:1", "http://h", "redis://h:99999", "redis://h/x", "redis://h/?protocol=9"] {
        assert_eq!(Address::parse(url, None).unwrap_err(), AddressError::Url, "{url}");
    }
    assert_eq!(Address::parse("rediss://h/#insecure", None).unwrap_err(), AddressError::Insecure);
    assert_eq!(Address::parse("redis://h", Some(Vec::new())).unwrap_err(), AddressError::Plain);
    let address = Address::parse("redis://u:hunter2@h", None).unwrap();
    assert!(address.has_password() && !format!("{address:?}").contains("hunter2"));
    assert!(!Address::parse("redis://h", None).unwrap().has_password());
}

#[tokio::test]
async fn while_it_is_away_everybody_is_told_so_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let redis = open(&address.to_string());
    // The first one may have waited for the first attempt.
    assert_eq!(redis.run(cmd("GET")).await, Err(Unavailable));
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(redis.run(cmd("GET")).await, Err(Unavailable));
    }
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, |command| pong(command).or_else(|| Some(":7\r\n".to_owned()))).await;
    });
    until_up(&redis).await;
    assert_eq!(redis.run(cmd("GET")).await, Ok(Value::Int(7)));
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_given_up_soon_and_connected_to_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redis = open(&listener.local_addr().unwrap().to_string());
    let (first, _) = listener.accept().await.unwrap();
    let silent = tokio::spawn(serve(first, pong));
    until_up(&redis).await;
    let started = Instant::now();
    let asks = (0..50).map(|_| redis.run(cmd("GET")));
    let answers = futures_util::future::join_all(asks).await;
    assert!(answers.iter().all(|answer| *answer == Err(Unavailable)));
    // All of them waited at once, none for another.
    assert!(started.elapsed() < TIMEOUT * 2, "{:?}", started.elapsed());
    let (second, _) = listener.accept().await.unwrap();
    assert!(!redis.figures().is_up());
    let started = Instant::now();
    assert_eq!(redis.run(cmd("GET")).await, Err(Unavailable));
    assert!(started.elapsed() < TIMEOUT, "it is away: nobody waits");
    tokio::spawn(serve(second, |command| pong(command).or_else(|| Some("+OK\r\n".to_owned()))));
    until_up(&redis).await;
    assert_eq!(redis.run(cmd("GET")).await, Ok(Value::Okay));
    silent.await.unwrap();
}

#[tokio::test]
async fn an_error_is_no_answer_and_no_reason_to_go() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redis = open(&listener.local_addr().unwrap().to_string());
    let (stream, _) = listener.accept().await.unwrap();
    let answer = |command: &[String]| match &*command[0] {
        "SET" => Some("-OOM command not allowed\r\n".to_owned()),
        "EVAL" => Some("*2\r\n:1\r\n-ERR inside\r\n".to_owned()),
        "GET" => Some("-READONLY You can't write against a read only replica.\r\n".to_owned()),
        _ => pong(command).or_else(|| Some(":1\r\n".to_owned())),
    };
    let server = tokio::spawn(serve(stream, answer));
    until_up(&redis).await;
    for _ in 0..10 {
        assert_eq!(redis.run(cmd("SET")).await, Err(Unavailable));
        assert_eq!(redis.run(cmd("EVAL")).await, Err(Unavailable));
    }
    assert_eq!(redis.run(cmd("INCR")).await, Ok(Value::Int(1)));
    // A replica where there was a primary: whoever the address leads to now is asked next.
    assert_eq!(redis.run(cmd("GET")).await, Err(Unavailable));
    server.await.unwrap();
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn the_actor_ends_with_the_last_handle() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings {
        address: Address::parse(&format!("redis://{}", listener.local_addr().unwrap()), None).unwrap(),
        connect_timeout: Duration::from_secs(2),
        timeout: TIMEOUT,
        prefix: "p:".into(),
    };
    let (redis, running) = Redis::open(settings);
    assert_eq!(redis.key("a"), "p:a");
    let actor = tokio::spawn(running);
    let (stream, _) = listener.accept().await.unwrap();
    let server = tokio::spawn(serve(stream, pong));
    until_up(&redis).await;
    drop(redis);
    actor.await.unwrap();
    server.await.unwrap();
}
