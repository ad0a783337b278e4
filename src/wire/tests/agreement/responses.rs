//! Streams of responses, which hyper's client reads as we do.

use crate::wire::body::Framing;
use crate::wire::tests::peers::{Got, with_client};
use crate::wire::tests::streams::{noise, responses};
use crate::wire::tests::{Answered, Message, Reads, Responses, cut, feed};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use proptest::prelude::*;
use proptest::sample::Index;

/// Both have read the same. We take off the field that says that there were chunks, and lengths that say nothing new.
fn is_same(ours: &Message<Answered>, theirs: &Got) -> bool {
    let mut fields = theirs.fields.clone();
    if fields.remove(TRANSFER_ENCODING).is_some() {
        fields.remove(CONTENT_LENGTH);
    } else if let Some(length) = fields.get(CONTENT_LENGTH).cloned() {
        fields.insert(CONTENT_LENGTH, length);
    }
    let trailers = ours.trailers.clone().unwrap_or_default();
    (ours.start.status, &ours.fields, ours.data.as_slice(), &trailers)
        == (theirs.status, &fields, &*theirs.data, &theirs.trailers)
}

/// Streams byte by byte through both: a response is complete for hyper at the very byte where it is for us, and at the
/// end of the connection if that is its end.
fn agree(stream: &[u8], to_heads: &[bool]) -> Vec<Message<Answered>> {
    with_client(|mut client| {
        let mut reader = Responses::reader(to_heads);
        let finals = |messages: &[Message<Answered>]| {
            messages.iter().filter(|message| message.whole && message.start.is_final()).count()
        };
        let mut given = 0;
        assert!(client.ask(to_heads[0]));
        for byte in stream {
            reader.read(&[*byte]);
            let fresh = &stream[given..reader.taken];
            let (most, last) = fresh.split_at(fresh.len().saturating_sub(1));
            let before = client.got.len();
            client.take(most);
            assert_eq!(client.got.len(), before, "complete too early");
            client.take(last);
            given = reader.taken;
            let taken = String::from_utf8_lossy(&stream[..given]);
            assert!(client.failed.is_none(), "{:?} after {taken:?}", client.failed);
            assert_eq!(client.got.len(), finals(&reader.side.messages), "after {taken:?}");
            if client.got.len() > before && reader.side.goes_on() {
                // hyper does not understand a list of options that holds more than ASCII.
                let asked = client.ask(to_heads[client.got.len()]);
                assert!(asked || !stream.is_ascii(), "it reads no further after {taken:?}");
                if !asked {
                    break;
                }
            }
        }
        if reader.side.messages.last().is_some_and(|last| !last.whole) && reader.refused.is_none() {
            let whole = reader.side.end();
            client.end();
            assert_eq!((client.failed.is_none(), client.got.len()), (whole, finals(&reader.side.messages)));
        }
        let messages = reader.outcome().messages;
        for (ours, theirs) in messages.iter().filter(|message| message.start.is_final()).zip(&client.got) {
            assert!(is_same(ours, theirs), "{ours:?} {theirs:?}");
        }
        messages
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_make_no_difference(
        stream in prop_oneof![4 => responses(), 1 => noise()],
        to_heads in prop::collection::vec(prop::bool::weighted(0.2), 1..6),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let expected = feed(Responses::reader(&to_heads), [&*stream]);
        prop_assert_eq!(&feed(Responses::reader(&to_heads), stream.chunks(1)), &expected);
        prop_assert_eq!(&feed(Responses::reader(&to_heads), cut(&stream, &cuts)), &expected);
    }

    #[test]
    fn hyper_reads_the_same_responses(
        stream in prop_oneof![4 => responses(), 1 => noise()],
        to_heads in prop::collection::vec(prop::bool::weighted(0.2), 1..6),
    ) {
        let ours = agree(&stream, &to_heads);
        let mut expected = feed(Responses::reader(&to_heads), [&*stream]).messages;
        // The end of the connection is the only thing that pieces do not tell.
        for (message, ours) in expected.iter_mut().zip(&ours).filter(|(message, _)| message.framing == Framing::Close) {
            message.whole = ours.whole;
        }
        prop_assert!(ours == expected || !stream.is_ascii());
    }
}

#[test]
fn every_cut_of_a_stream_gives_the_same() {
    let chunked = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\r\n\r\n3 ;x\r\nabc\r\n0\r\nX: y\r\n\r\n";
    let length = "HTTP/1.1 404 \r\nContent-Length: 4\r\n\n\r\n\r\n";
    let interim = "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n";
    for end in ["HTTP/1.1 200 OK\r\n\r\nrest", "HTTP/1.1 200 OK\r\n: x\r\n\r\n"] {
        let stream = [interim, chunked, length, end].concat();
        let to_gets = || Responses::reader(&[false; 4]);
        let expected = feed(to_gets(), [stream.as_bytes()]);
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let bytes = stream.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(feed(to_gets(), pieces), expected, "{first} {second}");
            }
        }
        let read = agree(stream.as_bytes(), &[false; 4]);
        let read: Vec<_> =
            read.iter().map(|read| (read.start.status, read.data.len(), read.trailer_count())).collect();
        assert_eq!(
            read[..3],
            [(StatusCode::EARLY_HINTS, 0, 0), (StatusCode::OK, 3, 1), (StatusCode::NOT_FOUND, 4, 0)]
        );
        assert_eq!(read.len(), if end.ends_with("rest") { 4 } else { 3 });
    }
}
