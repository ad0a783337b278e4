//! Clients on unix sockets: whose file it is, and what becomes of it.

use crate::support::client::Client;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::{PUBLIC, Setup};
use crate::support::temp::TempDir;
use std::os::unix::net::UnixListener;

#[test]
fn the_file_comes_and_goes_with_the_gate() {
    let (service, dir) = (Service::ok("hello"), TempDir::new());
    let path = dir.file("gate.sock");
    let listen = format!("unix:{}", path.display());
    // Left behind by a process that is gone.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let gate = Setup::public(&service).listen(&listen).start();
    get("/").on(&mut Client::unix(&path)).expect(200, "a stale file is replaced");
    // One that somebody answers on stays.
    let refusal = Setup::new("http://127.0.0.1:1").with(PUBLIC).listen(&listen).refused();
    assert!(refusal.text.contains("cannot listen on unix:"), "{refusal:?}");
    get("/").on(&mut Client::unix(&path)).expect(200, "the first is not disturbed");
    gate.terminate();
    assert_eq!(gate.wait_exit(), Some(0));
    assert!(!path.exists(), "it is removed");
}

#[test]
fn what_is_somebody_elses_is_left_alone() {
    let (service, dir) = (Service::ok("hello"), TempDir::new());
    let path = dir.write("precious", "data");
    let listen = format!("unix:{}", path.display());
    let refusal = Setup::new("http://127.0.0.1:1").with(PUBLIC).listen(&listen).refused();
    assert!(refusal.text.contains("cannot listen on unix:"), "{refusal:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    // Another process has taken the place meanwhile.
    let path = dir.file("gate.sock");
    let gate = Setup::public(&service).listen(&format!("unix:{}", path.display())).start();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    gate.terminate();
    assert_eq!(gate.wait_exit(), Some(0));
    assert!(path.exists(), "it is another one's");
}
