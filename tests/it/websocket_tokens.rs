//! Tokens where browsers can put them: headers, cookies, the query of a handshake, subprotocols.

use crate::support::frames::{Socket, echo, echo_with, handshake};
use crate::support::idp::Idp;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;

/// A gate that finds tokens wherever a browser can put one.
fn anywhere(service: &Service, idp: &Idp, more: &str) -> Setup {
    let places = "credentials = [{ header = \"authorization\", scheme = \"Bearer\" }, { header = \"x-token\" }, \
        { cookie = \"access_token\" }, { query = \"token\" }, { subprotocol = \"bearer\" }]";
    let authenticator = format!("{}{places}\n{more}\n", idp.authenticator("main"));
    Setup::new(service.url()).with(&authenticator).with("[identity.headers]\nx-customer-id = \"subject\"")
}

#[test]
fn a_token_is_found_wherever_a_browser_can_put_it() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = anywhere(&service, &idp, "").start();
    let token = idp.token().build();
    for (case, ask) in [
        ("header", handshake("/ws").bearer(&token)),
        ("another header", handshake("/ws").header("X-Token", &token)),
        ("cookie", handshake("/ws").header("Cookie", &format!("a=1; access_token={token}; b=2"))),
        ("query", handshake(&format!("/ws?a=1&token={token}&b=2"))),
    ] {
        let before = service.requests().len();
        Socket::open(&gate, &ask).echo(case);
        let seen = service.begun(before);
        assert_eq!(seen.header("x-customer-id"), Some("user-1"), "{case}");
        assert!(format!("{seen:?}").contains(&token), "{case}: stays unless it is to be stripped");
    }
    let before = service.received();
    // In the query only for handshakes: other URLs end up in logs.
    get(&format!("/ws?token={token}")).send(&gate).expect(401, "query without a handshake");
    for (case, ask) in [
        ("header and query", handshake(&format!("/ws?token={token}")).bearer(&token)),
        (
            "header and cookie",
            handshake("/ws").bearer(&token).header("Cookie", &format!("access_token={token}")),
        ),
        ("twice in the query", handshake(&format!("/ws?token={token}&token={token}"))),
        (
            "twice in the cookie",
            handshake("/ws").header("Cookie", &format!("access_token={token}; access_token={token}")),
        ),
        ("two headers", handshake("/ws").header("X-Token", &token).header("X-Token", &token)),
    ] {
        let reply = ask.send(&gate).expect(400, case);
        assert_eq!(gate.reason(&reply), "credential_repeated", "{case}");
    }
    assert_eq!(service.received(), before);
    let log = gate.log_lines().concat();
    assert!(!log.contains(token.rsplit_once('.').unwrap().1), "the token is in the log");
}

#[test]
fn a_token_from_a_subprotocol_never_reaches_the_service() {
    let (service, idp) = (
        Service::start(|exchange| {
            let offered = exchange.request().headers.one("sec-websocket-protocol").map(str::to_owned);
            let chosen = offered.map(|list| {
                format!("Sec-WebSocket-Protocol: {}\r\n", list.split(',').next().unwrap().trim())
            });
            echo_with(exchange, &chosen.unwrap_or_default())
        }),
        Idp::start(),
    );
    let gate = anywhere(&service, &idp, "").start();
    let token = idp.token().build();
    for (case, offers, left, answer) in [
        ("alone", format!("bearer, {token}"), None, "bearer"),
        ("no spaces", format!("bearer,{token}"), None, "bearer"),
        ("with another", format!("chat, bearer, {token}"), Some("chat"), "chat"),
        ("in front of another", format!("bearer, {token}, chat"), Some("chat"), "chat"),
        ("between", format!("chat.v2, bearer, {token}, chat"), Some("chat.v2, chat"), "chat.v2"),
    ] {
        let before = service.requests().len();
        let mut socket = Socket::open(&gate, &handshake("/ws").header("Sec-WebSocket-Protocol", &offers));
        socket.echo(case);
        let seen = service.begun(before);
        assert_eq!(seen.header("sec-websocket-protocol"), left, "{case}");
        assert_eq!(seen.header("x-customer-id"), Some("user-1"), "{case}");
        assert!(!format!("{:?}", seen.headers).contains(&token), "{case}: {seen:?}");
        assert_eq!(socket.reply.header("sec-websocket-protocol"), Some(answer), "{case}");
    }
    let before = service.received();
    for offers in ["bearer", "bearer, ", "bearer, a b", "chat"] {
        let status = handshake("/ws").header("Sec-WebSocket-Protocol", offers).send(&gate).status;
        assert!(status == 400 || status == 401, "{offers}: {status}");
    }
    assert_eq!(service.received(), before);
}

#[test]
fn a_token_is_stripped_from_where_it_stood_and_nothing_else() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = anywhere(&service, &idp, "strip_credential = true").start();
    let token = idp.token().build();
    for (case, ask, target, cookie) in [
        ("header", handshake("/ws?a=%61").bearer(&token), "/ws?a=%61", None),
        ("another header", handshake("/ws").header("X-Token", &token), "/ws", None),
        (
            "cookie",
            handshake("/ws").header("Cookie", &format!("a=1; access_token={token}; b=2")),
            "/ws",
            Some("a=1; b=2"),
        ),
        ("only cookie", handshake("/ws").header("Cookie", &format!("access_token={token}")), "/ws", None),
        ("query", handshake(&format!("/ws?a=%61&token={token}&b=//")), "/ws?a=%61&b=//", None),
        ("first in the query", handshake(&format!("/ws?token={token}&b")), "/ws?b", None),
        ("alone in the query", handshake(&format!("/ws?token={token}")), "/ws", None),
    ] {
        let before = service.requests().len();
        Socket::open(&gate, &ask).echo(case);
        let seen = service.begun(before);
        assert_eq!((seen.target.as_str(), seen.header("cookie")), (target, cookie), "{case}");
        assert!(!format!("{seen:?}").contains(&token), "{case}: {seen:?}");
        assert_eq!(seen.header("x-customer-id"), Some("user-1"), "{case}");
    }
    get("/plain").bearer(&token).send(&gate).expect(200, "a plain request");
    assert!(!service.last().headers.has("authorization"));
}
