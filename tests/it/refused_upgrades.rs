//! `on_denied = "close"`: scripts in browsers cannot read the status of a refused handshake, but the code of a close.

use crate::support::frames::{Frame, Socket, echo, handshake};
use crate::support::idp::{Idp, Mode};
use crate::support::request::get;
use crate::support::service::{ClosedPort, Service};
use crate::support::setup::Setup;
use crate::support::wait::until;

const CLOSES: &str = "websocket.on_denied = \"close\"\n";

#[test]
fn a_refusal_is_an_accepted_handshake_and_a_close_frame_and_nothing_for_the_service() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .route("/ws", CLOSES)
        .route("/admin", &format!("require.roles = [\"admin\"]\n{CLOSES}"))
        .route("/closed", &format!("access = \"deny\"\n{CLOSES}"))
        .route("/origin", &format!("{CLOSES}websocket.allowed_origins = [\"https://app.example\"]"))
        .start();
    let (token, expired) = (idp.token().build(), idp.token().expires_in(-60).build());
    for (case, path, ask, status, reason, text) in [
        ("no token", "/ws", handshake("/ws"), 401, "credential_missing", "credentials"),
        ("expired", "/ws", handshake("/ws").bearer(&expired), 401, "token_expired", "expired"),
        (
            "malformed",
            "/ws",
            handshake("/ws").header("Authorization", "Bearer"),
            400,
            "credential_malformed",
            "",
        ),
        ("no role", "/admin", handshake("/admin").bearer(&token), 403, "role_missing", "roles"),
        ("nobody", "/closed", handshake("/closed").bearer(&token), 403, "route_denied", ""),
        ("origin", "/origin", handshake("/origin").bearer(&token), 403, "origin_refused", "origin"),
    ] {
        let before = gate.log().len();
        let mut socket = Socket::open(&gate, &ask);
        // What an eager client says is for nobody.
        socket.client().send_anyway(Frame::text("eager").masked().bytes());
        let last = socket.read();
        assert_eq!((last.code(), last.masked), (Some(1008), false), "{case}: {last:?}");
        let words = String::from_utf8(last.payload[2..].to_vec()).unwrap();
        assert!(words.contains(text) && !words.is_empty(), "{case}: {words}");
        socket.client().send_anyway(Frame::close(1008).masked().bytes());
        socket.client().assert_closed(case);
        service.assert_untouched(case);
        let line = until(case, || gate.log().into_iter().skip(before).find(|line| line["path"] == path));
        assert_eq!((&line["status"], &line["reason"]), (&status.into(), &reason.into()), "{case}");
        assert_eq!(line["decision"], "deny", "{case}");
    }
    gate.wait_metric("tunnels", &[], 0);
}

#[test]
fn what_is_no_valid_handshake_gets_a_status() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = Setup::guarded(&service, &idp).route("/ws", CLOSES).start();
    get("/ws").send(&gate).expect(401, "a plain request");
    let broken = get("/ws").header("Upgrade", "websocket").header("Connection", "Upgrade");
    broken.send(&gate).expect(400, "no key");
    service.assert_untouched("neither");
    Socket::open(&gate, &handshake("/ws").bearer(&idp.token().build())).echo("the admitted are served");
}

#[test]
fn a_browser_gets_one_of_the_subprotocols_that_it_offers() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let authenticator =
        format!("{}credentials = [{{ subprotocol = \"bearer\" }}]\n", idp.authenticator("main"));
    let gate = Setup::new(service.url()).with(&authenticator).route("/ws", CLOSES).start();
    let expired = idp.token().expires_in(-60).build();
    for (offers, selected) in [
        (format!("bearer, {expired}"), "bearer"),
        (format!("chat, bearer, {expired}"), "bearer"),
        ("chat.v2, chat".to_owned(), "chat.v2"),
    ] {
        let mut socket = Socket::open(&gate, &handshake("/ws").header("Sec-WebSocket-Protocol", &offers));
        assert_eq!(socket.reply.header("sec-websocket-protocol"), Some(selected), "{offers}");
        assert_eq!(socket.read().code(), Some(1008));
    }
    let socket = Socket::open(&gate, &handshake("/ws"));
    assert_eq!(socket.reply.header("sec-websocket-protocol"), None, "none was offered");
    service.assert_untouched("refused");
}

#[test]
fn come_back_later_is_1013() {
    let (service, idp) = (Service::start(echo), Idp::start());
    idp.mode(Mode::Failing);
    let gate = Setup::guarded(&service, &idp).route("/ws", CLOSES).start_unready();
    let mut socket = Socket::open(&gate, &handshake("/ws").bearer(&idp.token().build()));
    assert_eq!(socket.read().code(), Some(1013));
    service.assert_untouched("no keys");
    let vacant = ClosedPort::new();
    let gate = Setup::new(&format!("http://{}", vacant.address()))
        .with("[policy]\naccess = \"public\"\n")
        .route("/ws", CLOSES)
        .start();
    let mut socket = Socket::open(&gate, &handshake("/ws"));
    assert_eq!(socket.read().code(), Some(1008), "502");
}

#[test]
fn in_shadow_mode_they_pass() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = Setup::guarded(&service, &idp).route("/ws", &format!("mode = \"shadow\"\n{CLOSES}")).start();
    Socket::open(&gate, &handshake("/ws")).echo("passes");
    assert_eq!(service.requests().len(), 1);
}
