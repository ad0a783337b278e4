//! Whatever is written, in whatever pieces, is read back as it was: by our own reader and by hyper.

use super::peers::{with_client, with_server};
use super::{Requests, Responses, WIDE, cut, feed};
use crate::clock::UnixTime;
use crate::stream::Stream;
use crate::wire::body::Framing;
use crate::wire::encode::{Connection, Sending, fields as write_fields, request_head, response_head};
use crate::wire::outbound::{Misfit, Outbound};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Frame;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::future::poll_fn;
use std::task::ready;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// What follows a head.
#[derive(Clone, Debug)]
struct Payload {
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Payload {
    const NOTHING: Self = Self { pieces: Vec::new(), trailers: None };

    fn data(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// What a receiver gets of the trailers.
    fn read_trailers(&self, sending: Sending) -> HeaderMap {
        let trailers = self.trailers.as_ref().filter(|_| sending == Sending::Chunked);
        trailers.map(read_back).unwrap_or_default()
    }
}

/// Sends a message as a connection does: pieces are added whenever there is room. The kernel takes little at a time.
fn written(sending: Sending, payload: &Payload, head: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let (near, mut far) = UnixStream::pair().unwrap();
        socket2::SockRef::from(&near).set_send_buffer_size(4096).unwrap();
        let read = tokio::spawn(async move {
            let mut got = Vec::new();
            let mut room = [0; 1500];
            while let count @ 1.. = far.read(&mut room).await.unwrap() {
                got.extend_from_slice(&room[..count]);
            }
            got
        });
        let (mut stream, mut out) = (Stream::Unix(near), Outbound::default());
        out.begin(sending, head);
        let pieces = payload.pieces.iter().cloned().map(Frame::data);
        let frames = pieces.chain(payload.trailers.iter().cloned().map(Frame::trailers)).map(Some);
        let mut steps = frames.chain([None]).peekable();
        poll_fn(|cx| {
            while steps.peek().is_some() {
                while out.has_room() {
                    match steps.next() {
                        Some(Some(frame)) => out.push(frame).unwrap(),
                        Some(None) => out.end().unwrap(),
                        None => break,
                    }
                }
                ready!(out.poll_flush(cx, &mut stream)).unwrap();
            }
            out.poll_flush(cx, &mut stream)
        })
        .await
        .unwrap();
        assert!(out.is_empty() && out.has_begun());
        drop(stream);
        read.await.unwrap()
    })
}

/// Fields as a receiver reads them: without blanks around a value, and without what frames the message.
fn read_back(fields: &HeaderMap) -> HeaderMap {
    let mut read = HeaderMap::new();
    for (name, value) in fields.iter().filter(|(name, _)| ![CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
    {
        read.append(name, HeaderValue::from_bytes(value.as_bytes().trim_ascii()).unwrap());
    }
    read
}

/// What is read back of the fields of a message that is sent so, chunks not being mentioned.
fn expected(fields: &HeaderMap, sending: Sending) -> HeaderMap {
    let mut expected = read_back(fields);
    match (sending, fields.get(CONTENT_LENGTH)) {
        (Sending::Length(length), _) => drop(expected.insert(CONTENT_LENGTH, length.into())),
        (Sending::Described, Some(length)) => drop(expected.insert(CONTENT_LENGTH, length.clone())),
        _ => {}
    }
    expected
}

fn framing(sending: Sending) -> Framing {
    match sending {
        Sending::Nothing | Sending::Described | Sending::Length(0) => Framing::Empty,
        Sending::Length(length) => Framing::Length(length),
        Sending::Chunked => Framing::Chunked,
        Sending::Close => Framing::Close,
    }
}

fn name() -> impl Strategy<Value = HeaderName> {
    let known = select(vec![
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "expect",
        "te",
        "trailer",
        "date",
        "keep-alive",
        "cookie",
        "set-cookie",
        "x-user",
        "proxy-connection",
    ]);
    let known = known.prop_map(str::to_owned);
    prop_oneof![1 => known, 2 => "[a-z0-9!#$%&'*+.^_`|~-]{1,12}"].prop_map(|name| name.parse().unwrap())
}

fn value() -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![4 => b' '..=b'~', 1 => 0x80..=0xff_u8, 1 => Just(b'\t')];
    let known = select(vec!["chunked", "gzip, chunked", "close", "keep-alive", "7", "100-continue", "h2c"]);
    prop_oneof![
        3 => prop::collection::vec(byte, 0..20).prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap()),
        1 => known.prop_map(HeaderValue::from_static)
    ]
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    prop::collection::vec((name(), value()), 0..12).prop_map(|pairs| {
        let mut fields = HeaderMap::new();
        for (name, value) in pairs {
            fields.append(name, value);
        }
        // A client's is judged, and trailers are cleaned of it.
        fields.remove(HOST);
        fields
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    let length = prop_oneof![6 => 0..60_usize, 2 => 4080..4120_usize, 1 => 0..40_000_usize];
    let piece = (any::<u8>(), length)
        .prop_map(|(seed, length)| (0..length).map(|place| seed.wrapping_add(place as u8)).collect());
    (prop::collection::vec(piece, 0..6), prop::option::of(fields()))
        .prop_map(|(pieces, trailers)| Payload { pieces, trailers })
}

/// How a body may be sent, and the payload that suits it.
fn sent(kinds: &'static [Sending]) -> impl Strategy<Value = (Sending, Payload)> {
    (select(kinds), payload()).prop_map(|(sending, payload)| match sending {
        Sending::Length(_) => (Sending::Length(payload.data().len().try_into().unwrap()), payload),
        Sending::Nothing | Sending::Described => (sending, Payload::NOTHING),
        Sending::Chunked | Sending::Close => (sending, payload),
    })
}

fn target() -> impl Strategy<Value = PathAndQuery> {
    let path = "/[a-zA-Z0-9._~!$&'()*+,;=:@%/\"{}|^\\\\-]{0,20}";
    let query = "(|\\?[a-zA-Z0-9._~!$&'()*+,;=:@%/?`{}|^-]{0,20})";
    prop_oneof![
        9 => (path, query).prop_map(|(path, query)| (path + &query).parse().unwrap()),
        1 => Just(PathAndQuery::from_static("*"))
    ]
}

fn method() -> impl Strategy<Value = Method> {
    let known = select(vec![Method::GET, Method::HEAD, Method::POST, Method::OPTIONS, Method::DELETE]);
    let other = "[A-Za-z!#$%&'*+.^_`|~-]{1,12}".prop_map(|name| Method::from_bytes(name.as_bytes()).unwrap());
    prop_oneof![3 => known, 1 => other.prop_filter("a tunnel has no body", |name| name != Method::CONNECT)]
}

/// The status of a response, whether a HEAD asked for it, and how its body is sent.
fn answers() -> impl Strategy<Value = (u16, bool, Sending, Payload)> {
    let usual = (
        select(vec![200, 206, 299, 401, 404, 418, 500, 999]),
        sent(&[Sending::Length(0), Sending::Length(0), Sending::Chunked, Sending::Chunked, Sending::Close]),
    );
    let bare = select(vec![
        (101, false, Sending::Nothing),
        (204, false, Sending::Nothing),
        (304, false, Sending::Described),
        (200, true, Sending::Described),
        (404, true, Sending::Described),
    ]);
    prop_oneof![
        3 => usual.prop_map(|(status, (sending, payload))| (status, false, sending, payload)),
        1 => bare.prop_map(|(status, to_head, sending)| (status, to_head, sending, Payload::NOTHING))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_read_as_they_were_written(
        method in method(),
        target in target(),
        mut fields in fields(),
        (sending, payload) in sent(&[Sending::Nothing, Sending::Length(0), Sending::Chunked]),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        fields.insert(HOST, HeaderValue::from_static("a"));
        let stream = written(sending, &payload, |out| request_head(out, &method, &target, sending, |out| {
            write_fields(out, &fields, false);
        }));
        let mut expected = expected(&fields, sending);
        if sending == Sending::Chunked {
            expected.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let trailers = payload.read_trailers(sending);

        let outcome = feed(Requests::reader(WIDE), cut(&stream, &cuts));
        prop_assert_eq!((outcome.refused, outcome.messages.len(), outcome.left.len()), (None, 1, 0));
        let read = &outcome.messages[0];
        prop_assert_eq!((read.start.method.as_str(), read.start.target.as_str()), (method.as_str(), target.as_str()));
        prop_assert_eq!((read.whole, read.framing), (true, framing(sending)));
        prop_assert_eq!((&read.fields, read.trailers.clone().unwrap_or_default()), (&expected, trailers.clone()));
        prop_assert!(read.data == payload.data());

        let mut builder = hyper::server::conn::http1::Builder::new();
        with_server(builder.max_headers(1000), |mut server| {
            let (most, last) = stream.split_at(stream.len() - 1);
            server.take(most);
            assert_eq!(server.count(), 0);
            server.take(last);
            let seen = server.seen.borrow();
            assert_eq!(seen.len(), 1, "{}", String::from_utf8_lossy(&server.answer));
            assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), (method.as_str(), target.as_str()));
            assert_eq!((&seen[0].fields, &seen[0].trailers), (&expected, &trailers));
            assert!(seen[0].data == payload.data());
        });
    }

    #[test]
    fn responses_are_read_as_they_were_written(
        (status, to_head, sending, payload) in answers(),
        mut fields in fields(),
        length in prop::option::of(0..u64::MAX / 2),
        stays in select(vec![Connection::Silent, Connection::KeepAlive, Connection::Close]),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let connection = match sending {
            Sending::Close => Connection::Close,
            _ if status == 101 => Connection::Upgrade,
            _ => stays,
        };
        fields.remove(CONNECTION);
        fields.remove(UPGRADE);
        fields.remove(CONTENT_LENGTH);
        length.map(|length| fields.insert(CONTENT_LENGTH, length.into()));
        let status = StatusCode::from_u16(status).unwrap();
        let at = (connection, UnixTime::from_seconds(784_111_777));
        let stream = written(sending, &payload, |out| response_head(out, status, &fields, sending, at));
        let mut expected = expected(&fields, sending);
        let said: &[_] = match connection {
            Connection::Silent => &[],
            Connection::KeepAlive => &[(CONNECTION, "keep-alive")],
            Connection::Close => &[(CONNECTION, "close")],
            Connection::Upgrade => &[(CONNECTION, "Upgrade"), (UPGRADE, "websocket")],
        };
        expected.extend(said.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
        expected.entry(DATE).or_insert(HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        let trailers = payload.read_trailers(sending);

        let to_heads = [to_head];
        let mut reader = Responses::reader(&to_heads);
        for piece in &cut(&stream, &cuts) {
            reader.read(piece);
        }
        prop_assert_eq!((reader.count() == 1, reader.side.end()), (sending != Sending::Close, true));
        let outcome = reader.outcome();
        prop_assert_eq!((outcome.refused, outcome.messages.len(), outcome.left.len()), (None, 1, 0));
        let read = &outcome.messages[0];
        prop_assert_eq!((read.start.status, read.framing), (status, framing(sending)));
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        prop_assert_eq!(read.start.reusable, connection != Connection::Close && !switches);
        prop_assert_eq!((&read.fields, read.trailers.clone().unwrap_or_default()), (&expected, trailers.clone()));
        prop_assert!(read.data == payload.data());

        if sending == Sending::Chunked {
            expected.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        with_client(|mut client| {
            assert!(client.ask(to_head));
            let (most, last) = stream.split_at(stream.len() - 1);
            client.take(most);
            assert_eq!(client.got.len(), 0);
            client.take(last);
            if sending == Sending::Close {
                assert_eq!(client.got.len(), 0);
                client.end();
            }
            assert!(client.failed.is_none(), "{:?}", client.failed);
            let got = &client.got[0];
            assert_eq!((got.status, &got.fields, &got.trailers), (status, &expected, &trailers));
            assert!(got.data == payload.data());
        });
    }

    /// A body that is not as long as its head says never looks as if it were.
    #[test]
    fn a_body_of_another_length_breaks_off(
        length in 0..20_u64,
        pieces in prop::collection::vec(0..8_usize, 0..6),
    ) {
        let mut out = Outbound::default();
        out.begin(Sending::Length(length), |_| {});
        let mut left = Some(length);
        for piece in pieces {
            left = left.and_then(|left| left.checked_sub(piece as u64));
            let pushed = out.push(Frame::data(Bytes::from(vec![b'x'; piece])));
            prop_assert_eq!(pushed, left.map(|_| ()).ok_or(Misfit));
            if left.is_none() {
                return Ok(());
            }
        }
        prop_assert_eq!(out.end(), if left == Some(0) { Ok(()) } else { Err(Misfit) });
    }
}
