//! What systemd is told: that the gate serves, reloads and ends.

use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::temp::TempDir;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

#[test]
fn systemd_is_told_how_it_is() {
    let (service, dir) = (Service::ok("hello"), TempDir::new());
    let path = dir.file("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let gate = Setup::public(&service).env("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    assert_eq!(told(), "READY=1");
    gate.reload(|text| format!("{text}\n[[routes]]\npath = \"/x\"\naccess = \"deny\"\n"));
    let reloading = told();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(told(), "READY=1");
    gate.edit(|text| format!("{text}\nnonsense = 1\n"));
    assert!(told().starts_with("RELOADING=1\n"));
    assert_eq!(told(), "READY=1", "it goes on as before");
    gate.terminate();
    assert_eq!(told(), "STOPPING=1");
    gate.wait_exit();
}
