//! Each rule, in tables; that pieces of a stream make no difference; that hyper, as a second reader, agrees about
//! what is read and what is written.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "a test that overflows, truncates or slices wrongly is a test that fails"
)]

mod agreement;
mod heads;
mod inbound;
mod peers;
mod requests;
mod responses;
mod streams;
mod writing;

use super::body::{Decoder, Framing};
use super::head::Limits;
use super::request::{After, HeadReader, RequestHead};
use super::response::{self, ResponseFault, ResponseHead};
use crate::denial::Reason;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use proptest::sample::Index;

const LIMITS: Limits = Limits { header_bytes: 2048, headers: 8 };
const WIDE: Limits = Limits { header_bytes: 1 << 20, headers: usize::MAX };
const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A request or a response as it was read, with what has come of its body.
#[derive(Clone, Debug, PartialEq)]
struct Message<Start> {
    start: Start,
    fields: HeaderMap,
    framing: Framing,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Whether its last byte was taken.
    whole: bool,
}

/// What only requests have.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    method: String,
    target: String,
    old: bool,
    after: After,
    expects: bool,
}

/// What only responses have.
#[derive(Clone, Debug, PartialEq)]
struct Answered {
    status: StatusCode,
    reusable: bool,
}

impl<Start> Message<Start> {
    fn new(start: Start, fields: HeaderMap, framing: Framing) -> Self {
        Self { start, fields, framing, data: Vec::new(), trailers: None, whole: framing == Framing::Empty }
    }

    fn take(&mut self, frame: Option<Frame<Bytes>>, whole: bool) {
        assert!(!self.whole, "nothing follows the end");
        self.whole = whole;
        match frame.map(Frame::into_data) {
            None => {}
            Some(Ok(data)) => {
                assert!(!data.is_empty() && self.trailers.is_none());
                self.data.extend_from_slice(&data);
            }
            Some(Err(frame)) => {
                assert!(whole, "trailers are the end");
                self.trailers = Some(frame.into_trailers().unwrap());
            }
        }
    }

    fn trailer_count(&self) -> usize {
        self.trailers.as_ref().map_or(0, HeaderMap::len)
    }
}

/// What became of a stream.
#[derive(Debug, PartialEq)]
struct Outcome<Start, Fault> {
    messages: Vec<Message<Start>>,
    refused: Option<Fault>,
    /// What was not taken; nothing is said of it after a refusal, when nobody looks at it any more.
    left: Vec<u8>,
}

/// A side that reads messages off one connection.
trait Reads: Sized {
    type Start: Clone + std::fmt::Debug + PartialEq;
    type Fault: Copy + std::fmt::Debug + PartialEq;

    /// The bytes that were not taken, the body that is on its way, and the messages so far.
    fn parts(&mut self) -> (&mut BytesMut, &mut Decoder, &mut Vec<Message<Self::Start>>);

    /// Takes a head.
    fn head(&mut self) -> Result<Option<(Message<Self::Start>, Decoder)>, Self::Fault>;

    /// What is wrong with the body.
    fn body_fault(reason: Reason) -> Self::Fault;

    /// Whether another message may follow.
    fn goes_on(&self) -> bool;
}

/// Reads as a connection does: head, body, head and so on.
#[derive(Debug)]
struct Reader<R: Reads> {
    side: R,
    refused: Option<R::Fault>,
    /// How many bytes were taken before the one that was refused.
    taken: usize,
}

impl<R: Reads> Reader<R> {
    const fn new(side: R) -> Self {
        Self { side, refused: None, taken: 0 }
    }

    /// Takes what the bytes lead to.
    fn read(&mut self, piece: &[u8]) {
        self.side.parts().0.extend_from_slice(piece);
        while self.step() {}
    }

    /// Takes one step; whether it led any further.
    fn step(&mut self) -> bool {
        let in_body = self.side.parts().2.last().is_some_and(|message| !message.whole);
        if self.refused.is_some() || !(in_body || self.side.goes_on()) {
            return false;
        }
        let before = self.side.parts().0.len();
        let came = if in_body { self.body() } else { self.head() };
        let count = before - self.side.parts().0.len();
        match came {
            Ok(came) => {
                assert!(count > 0 || !came, "something came of nothing");
                self.taken += count;
                count > 0
            }
            Err(fault) => {
                self.refused = Some(fault);
                false
            }
        }
    }

    fn head(&mut self) -> Result<bool, R::Fault> {
        let Some((message, decoder)) = self.side.head()? else { return Ok(false) };
        let (_, body, messages) = self.side.parts();
        assert_eq!(message.whole, decoder.has_ended());
        *body = decoder;
        messages.push(message);
        Ok(true)
    }

    fn body(&mut self) -> Result<bool, R::Fault> {
        let (bytes, body, messages) = self.side.parts();
        let frame = body.next(bytes).map_err(R::body_fault)?;
        let came = frame.is_some();
        messages.last_mut().unwrap().take(frame, body.has_ended());
        Ok(came)
    }

    /// How many messages were taken whole.
    fn count(&mut self) -> usize {
        self.side.parts().2.iter().filter(|message| message.whole).count()
    }

    fn outcome(mut self) -> Outcome<R::Start, R::Fault> {
        let (bytes, _, messages) = self.side.parts();
        let left = if self.refused.is_some() { Vec::new() } else { bytes.to_vec() };
        Outcome { messages: std::mem::take(messages), refused: self.refused, left }
    }
}

/// The side that reads requests.
#[derive(Debug)]
struct Requests {
    limits: Limits,
    heads: HeadReader,
    unread: BytesMut,
    body: Decoder,
    messages: Vec<Message<Asked>>,
}

impl Requests {
    fn reader(limits: Limits) -> Reader<Self> {
        let (heads, unread) = (HeadReader::new(limits), BytesMut::new());
        Reader::new(Self { limits, heads, unread, body: Decoder::ENDED, messages: Vec::new() })
    }
}

impl Reads for Requests {
    type Start = Asked;
    type Fault = Reason;

    fn parts(&mut self) -> (&mut BytesMut, &mut Decoder, &mut Vec<Message<Asked>>) {
        (&mut self.unread, &mut self.body, &mut self.messages)
    }

    fn head(&mut self) -> Result<Option<(Message<Asked>, Decoder)>, Reason> {
        let Some(head) = self.heads.read(&mut self.unread)? else { return Ok(None) };
        let RequestHead { request, framing, after, expects } = head;
        let (parts, ()) = Request::into_parts(request);
        let (method, target) = (parts.method.to_string(), parts.uri.to_string());
        let old = parts.version == http::Version::HTTP_10;
        let asked = Asked { method, target, old, after, expects };
        let decoder = Decoder::request(framing, self.limits);
        Ok(Some((Message::new(asked, parts.headers, framing), decoder)))
    }

    fn body_fault(reason: Reason) -> Reason {
        reason
    }

    fn goes_on(&self) -> bool {
        self.messages.last().is_none_or(|message| message.start.after != After::Close)
    }
}

/// The side that reads responses, to requests of which some were HEADs.
#[derive(Debug)]
struct Responses<'a> {
    to_heads: &'a [bool],
    seen: usize,
    unread: BytesMut,
    body: Decoder,
    messages: Vec<Message<Answered>>,
}

impl<'a> Responses<'a> {
    fn reader(to_heads: &'a [bool]) -> Reader<Self> {
        let (unread, messages) = (BytesMut::new(), Vec::new());
        Reader::new(Self { to_heads, seen: 0, unread, body: Decoder::ENDED, messages })
    }

    /// How many final responses have begun.
    fn begun(&self) -> usize {
        self.messages.iter().filter(|message| message.start.is_final()).count()
    }

    /// Notes that the connection has ended; whether that was the end of the last response.
    fn end(&mut self) -> bool {
        let ended = self.body.end();
        if let Some(last) = self.messages.last_mut() {
            last.whole = ended;
        }
        ended
    }
}

impl Answered {
    fn is_final(&self) -> bool {
        !self.status.is_informational() || self.status == StatusCode::SWITCHING_PROTOCOLS
    }
}

impl Reads for Responses<'_> {
    type Start = Answered;
    type Fault = ResponseFault;

    fn parts(&mut self) -> (&mut BytesMut, &mut Decoder, &mut Vec<Message<Answered>>) {
        (&mut self.unread, &mut self.body, &mut self.messages)
    }

    fn head(&mut self) -> Result<Option<(Message<Answered>, Decoder)>, ResponseFault> {
        let to_head = self.to_heads[self.begun()];
        let read = response::read(&mut self.unread, &mut self.seen, to_head)?;
        let Some(ResponseHead { response, framing, reusable }) = read else { return Ok(None) };
        let (parts, ()) = response.into_parts();
        let start = Answered { status: parts.status, reusable };
        Ok(Some((Message::new(start, parts.headers, framing), Decoder::response(framing))))
    }

    fn body_fault(_: Reason) -> ResponseFault {
        ResponseFault::Framing
    }

    fn goes_on(&self) -> bool {
        let stays = |last: &Message<Answered>| !last.start.is_final() || last.start.reusable;
        let switched = |last: &Message<Answered>| last.start.status == StatusCode::SWITCHING_PROTOCOLS;
        let next = self.messages.last().is_none_or(|last| stays(last) && !switched(last));
        next && self.begun() < self.to_heads.len()
    }
}

/// Offers the pieces one after the other.
fn feed<'a, R: Reads>(
    mut reader: Reader<R>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome<R::Start, R::Fault> {
    pieces.into_iter().for_each(|piece| reader.read(piece));
    reader.outcome()
}

/// A stream cut in some places.
fn cut<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect()
}

/// What becomes of a stream of requests that comes at once.
fn whole(stream: impl AsRef<[u8]>) -> Outcome<Asked, Reason> {
    feed(Requests::reader(LIMITS), [stream.as_ref()])
}

/// Why a stream of requests is refused, if it is.
fn refusal(limits: Limits, stream: impl AsRef<[u8]>) -> Option<Reason> {
    feed(Requests::reader(limits), [stream.as_ref()]).refused
}

/// A head with a good request line and Host, and more fields.
fn with_fields(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// All of the stream is taken, as so many requests; the last of them may lack a part of its body.
#[track_caller]
fn assert_taken(stream: &str, requests: usize, ends: bool) {
    let outcome = whole(stream);
    assert_eq!((outcome.refused, outcome.left.as_slice()), (None, b"".as_slice()), "{stream:?}");
    let wholes = outcome.messages.iter().filter(|message| message.whole).count();
    assert_eq!((outcome.messages.len(), wholes), (requests, requests - usize::from(!ends)), "{stream:?}");
}

/// The good part of a stream is taken, and nothing comes of the rest, in whatever pieces it comes.
#[track_caller]
fn assert_refused(good: &str, bad: impl AsRef<[u8]>, reason: Reason) {
    let stream = [good.as_bytes(), bad.as_ref()].concat();
    let expected = whole(good);
    assert_eq!(expected.refused, None, "{good:?}");
    for outcome in [whole(&stream), feed(Requests::reader(LIMITS), stream.chunks(1))] {
        assert_eq!(outcome.refused, Some(reason), "{:?}: {outcome:?}", String::from_utf8_lossy(&stream));
        assert_eq!(outcome.messages, expected.messages, "{:?}", String::from_utf8_lossy(&stream));
    }
}
