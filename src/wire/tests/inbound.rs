//! Bodies through a socket: they come as they were sent, and who waits for a 100 gets it once, and at the right time.

use super::streams::requests;
use super::{CHUNKED, HEAD, LIMITS, cut, feed, with_fields};
use super::{Requests, WIDE};
use crate::stream::Stream;
use crate::wire::body::{Decoder, Framing};
use crate::wire::inbound::{BodyError, Inbound, Turn};
use crate::wire::request::{After, HeadReader, RequestHead};
use bytes::BytesMut;
use http_body::Frame;
use proptest::prelude::*;
use proptest::sample::Index;
use socket2::SockRef;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read as _};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// More than ever waits to be read: two reads of a body.
const ROOM: usize = 200 << 10;

/// One side's view of a connection, and the other end of it.
fn connection() -> (Inbound, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Inbound::of_client(Stream::Unix(near), BytesMut::new()), far)
}

async fn head(inbound: &mut Inbound, heads: &mut HeadReader) -> Option<RequestHead> {
    poll_fn(|cx| {
        loop {
            match heads.read(&mut inbound.unread) {
                Ok(Some(head)) => return Poll::Ready(Some(head)),
                Ok(None) => {}
                Err(_) => return Poll::Ready(None),
            }
            match inbound.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// The rest of a body: its data, how many trailers it has, and why it breaks off.
async fn body(inbound: &mut Inbound) -> (Vec<u8>, usize, Option<BodyError>) {
    let (mut data, mut trailers) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|cx| inbound.poll_frame(cx)).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(piece)) => data.extend_from_slice(&piece),
            Ok(Err(frame)) => trailers = frame.into_trailers().unwrap().len(),
            Err(error) => return (data, trailers, Some(error)),
        }
        assert!(inbound.unread.capacity() <= ROOM);
    }
    (data, trailers, None)
}

/// Reads all requests of a connection as the listener does.
async fn read_all(inbound: &mut Inbound, limits: super::Limits) -> Vec<(String, Vec<u8>, usize, bool)> {
    let (mut heads, mut read) = (HeadReader::new(limits), Vec::new());
    while let Some(RequestHead { request, framing, after, expects }) = head(inbound, &mut heads).await {
        inbound.begin_body(Decoder::request(framing, limits), expects);
        let (data, trailers, fault) = body(inbound).await;
        inbound.answer();
        read.push((request.uri().to_string(), data, trailers, fault.is_none()));
        if fault.is_some() || after == After::Close {
            break;
        }
    }
    read
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_come_through_a_socket_as_they_were_sent(
        stream in requests(),
        long in prop::option::of((0..200_000_usize, any::<bool>())),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        // Something long in front of it, which takes more than one read.
        let long = long.map_or_else(Vec::new, |(length, chunked)| {
            let data = vec![b'x'; length];
            let (fields, end) = if chunked { ("Transfer-Encoding: chunked\r\n".to_owned(), "0\r\n\r\n") } else { (format!("Content-Length: {length}\r\n"), "") };
            let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            let data = if chunked { data.chunks(30_000).map(chunk).collect::<Vec<_>>().concat() } else { data };
            [with_fields(&fields).as_bytes(), &data, end.as_bytes()].concat()
        });
        let stream = [long.as_slice(), &stream].concat();
        let expected = feed(Requests::reader(LIMITS), [&stream[..]]).messages;
        let read = block_on(async {
            let (mut inbound, mut far) = connection();
            let send = async {
                for piece in cut(&stream, &cuts) {
                    // It may have heard enough.
                    if far.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                far.shutdown().await.ok();
            };
            let read = async {
                let read = read_all(&mut inbound, LIMITS).await;
                drop(inbound);
                read
            };
            tokio::join!(read, send).0
        });
        prop_assert_eq!(read.len(), expected.len());
        for (read, expected) in read.iter().zip(&expected) {
            prop_assert_eq!((&read.0, read.2, read.3), (&expected.start.target, expected.trailer_count(), expected.whole));
            prop_assert!(read.1 == expected.data);
        }
    }
}

/// What the peer has heard, as the kernel knows.
fn heard(far: &UnixStream) -> String {
    let mut room = [0; 100];
    match (&*SockRef::from(far)).read(&mut room) {
        Ok(count) => String::from_utf8_lossy(&room[..count]).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => String::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Begins a request that waits for a 100, of which `come` has come.
async fn waiting(come: &str) -> (Inbound, UnixStream) {
    let (mut inbound, mut far) = connection();
    let head_text = with_fields("Expect: 100-continue\r\nContent-Length: 4\r\n");
    far.write_all((head_text + come).as_bytes()).await.unwrap();
    let head = head(&mut inbound, &mut HeadReader::new(WIDE)).await.unwrap();
    assert!(head.expects);
    inbound.begin_body(Decoder::request(head.framing, WIDE), head.expects);
    (inbound, far)
}

fn poll_frame(inbound: &mut Inbound) -> Poll<Option<Vec<u8>>> {
    let frame = inbound.poll_frame(&mut Context::from_waker(Waker::noop()));
    frame.map(|frame| frame.map(|frame| frame.unwrap().into_data().unwrap().to_vec()))
}

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

#[tokio::test]
async fn who_waits_is_told_once_as_soon_as_the_body_is_asked_for() {
    let (mut inbound, mut far) = waiting("").await;
    assert_eq!(heard(&far), "");
    assert!(poll_frame(&mut inbound).is_pending() && poll_frame(&mut inbound).is_pending());
    assert_eq!(heard(&far), CONTINUE);
    far.write_all(b"abcd").await.unwrap();
    assert_eq!(body(&mut inbound).await.0, b"abcd");
    assert_eq!((inbound.answer(), heard(&far)), (&b""[..], String::new()));
}

#[tokio::test]
async fn who_does_not_wait_is_not_told() {
    for come in ["ab", "abcd"] {
        let (mut inbound, mut far) = waiting(come).await;
        assert_eq!(poll_frame(&mut inbound), Poll::Ready(Some(come.as_bytes().to_vec())));
        far.write_all(&b"abcd"[come.len()..]).await.unwrap();
        body(&mut inbound).await;
        // Nor is the next one, who has asked for nothing.
        inbound.begin_body(Decoder::request(Framing::Length(1), WIDE), false);
        assert!(poll_frame(&mut inbound).is_pending());
        assert_eq!((inbound.answer(), heard(&far)), (&b""[..], String::new()), "{come:?}");
    }
}

#[tokio::test]
async fn nobody_is_told_in_the_middle_of_a_response() {
    let (mut inbound, far) = waiting("").await;
    assert_eq!(inbound.answer(), b"");
    assert!(poll_frame(&mut inbound).is_pending());
    assert_eq!(heard(&far), "");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_whole_one() {
    for (stream, wrong) in [
        (CHUNKED.to_owned() + "5\r\nab", "Incomplete"),
        (CHUNKED.to_owned() + "2\r\nab\r\n", "Incomplete"),
        (CHUNKED.to_owned() + "2\r\nab\r\n0\r\n", "Incomplete"),
        (CHUNKED.to_owned() + "2\r\nab\n", "Malformed(HeadMalformed)"),
        (with_fields("Content-Length: 3\r\n") + "ab", "Incomplete"),
    ] {
        let (mut inbound, mut far) = connection();
        far.write_all(stream.as_bytes()).await.unwrap();
        drop(far);
        let head = head(&mut inbound, &mut HeadReader::new(WIDE)).await.unwrap();
        inbound.begin_body(Decoder::request(head.framing, WIDE), head.expects);
        let (data, _, error) = body(&mut inbound).await;
        assert_eq!(
            (data.as_slice(), format!("{:?}", error.unwrap()).as_str()),
            (&b"ab"[..], wrong),
            "{stream:?}"
        );
    }
}

#[tokio::test]
async fn a_response_may_end_with_its_connection() {
    let (mut inbound, mut far) = connection();
    inbound.begin_body(Decoder::response(Framing::Close), false);
    far.write_all(b"all that comes").await.unwrap();
    drop(far);
    let (data, trailers, fault) = body(&mut inbound).await;
    assert!(fault.is_none() && inbound.body.has_ended());
    assert_eq!((data.as_slice(), trailers), (&b"all that comes"[..], 0));
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_body_is_read_by_those_whose_turn_it_is() {
    let (mut inbound, mut far) = connection();
    inbound.begin_body(Decoder::request(Framing::Length(4), WIDE), false);
    let shared = Rc::new(RefCell::new(inbound));
    let (turn, woken) = (Turn::new(&shared), Arc::new(Woken::default()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    assert!(turn.poll_frame(&mut context).is_pending() && !turn.has_ended());
    assert_eq!((turn.size_hint().exact(), woken.0.load(Ordering::Relaxed)), (Some(4), 0));
    shared.borrow_mut().end_turn();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "who waits is told that nothing will come");
    assert!(matches!(turn.poll_frame(&mut context), Poll::Ready(Some(Err(BodyError::Incomplete)))));
    assert_eq!((turn.has_ended(), turn.size_hint().exact()), (false, None));

    let (turn, watching) = (Turn::new(&shared), Arc::new(Woken::default()));
    shared.borrow_mut().watch(&Context::from_waker(&Waker::from(Arc::clone(&watching))));
    for (part, watched) in [(b"ab", 0), (b"cd", 1)] {
        far.write_all(part).await.unwrap();
        let frame = poll_fn(|cx| turn.poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), &part[..]);
        assert_eq!(watching.0.load(Ordering::Relaxed), watched, "who waits for the end is told of it");
    }
    assert!(turn.has_ended());
    drop(shared);
    assert!(!turn.has_ended(), "a turn does not keep the connection");
    assert!(matches!(turn.poll_frame(&mut context), Poll::Ready(Some(Err(BodyError::Incomplete)))));
}

#[tokio::test]
async fn a_connection_without_a_word_holds_no_buffer() {
    let (mut inbound, mut far) = connection();
    let mut context = Context::from_waker(Waker::noop());
    assert!(inbound.poll_fill(&mut context).is_pending());
    assert_eq!(inbound.unread.capacity(), 0);
    far.write_all(HEAD.as_bytes()).await.unwrap();
    let read = head(&mut inbound, &mut HeadReader::new(WIDE)).await;
    drop(read);
    assert!(inbound.poll_fill(&mut context).is_pending());
    assert_eq!(inbound.unread.capacity(), 0);
}
