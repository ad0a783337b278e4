//! PROXY headers: those of the specification, those that are almost right, and any bytes at all.

use super::{LONGEST_LINE, SIGNATURE, Source, parse};
use proptest::prelude::*;

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn client(address: &str) -> Source {
    Source::Client(address.parse().unwrap())
}

/// What a whole header says; with what follows it, and cut off anywhere, the answer must fit.
#[track_caller]
fn whole(header: &[u8]) -> Source {
    let (length, source) = parse(header).unwrap().unwrap();
    assert_eq!(length, header.len());
    for follows in [&b"GET / HTTP/1.1\r\n"[..], SIGNATURE, b"\x16\x03\x01"] {
        assert_eq!(parse(&[header, follows].concat()).unwrap(), Some((length, source)));
    }
    for cut in 0..length {
        assert_eq!(parse(&header[..cut]).unwrap(), None, "cut at {cut}");
    }
    source
}

#[test]
fn lines() {
    for (line, source) in [
        ("TCP4 192.0.2.1 10.0.0.1 56324 443", client("192.0.2.1:56324")),
        ("TCP4 255.255.255.255 255.255.255.255 65535 65535", client("255.255.255.255:65535")),
        ("TCP4 192.0.2.1 10.0.0.1 0 443", client("192.0.2.1:0")),
        ("TCP6 2001:db8::1 ::1 4711 443", client("[2001:db8::1]:4711")),
        ("UNKNOWN", Source::Own),
        ("UNKNOWN ffff::1 ffff::2 65535 65535", Source::Own),
        ("UNKNOWN anything \0 at all", Source::Own),
    ] {
        assert_eq!(whole(format!("PROXY {line}\r\n").as_bytes()), source, "{line}");
    }
}

#[test]
fn lines_that_are_almost_right() {
    let long = format!("UNKNOWN {}", "x".repeat(LONGEST_LINE));
    for line in [
        "",
        "TCP4",
        "TCP4 192.0.2.1",
        "TCP4 192.0.2.1 10.0.0.1 56324",
        "TCP4 192.0.2.1 10.0.0.1 56324 443 ",
        "TCP4 192.0.2.1 10.0.0.1 56324 443 1",
        "TCP4  192.0.2.1 10.0.0.1 56324 443",
        "TCP4\t192.0.2.1 10.0.0.1 56324 443",
        "TCP4 192.0.2.01 10.0.0.1 56324 443",
        "TCP4 192.0.2.1 10.0.0 56324 443",
        "TCP4 192.0.2.1 10.0.0.1 +56324 443",
        "TCP4 192.0.2.1 10.0.0.1 056324 443",
        "TCP4 192.0.2.1 10.0.0.1 65536 443",
        "TCP4 192.0.2.1 10.0.0.1 56324 -1",
        "TCP4 192.0.2.1 10.0.0.1  443",
        "TCP4 2001:db8::1 ::1 4711 443",
        "TCP6 192.0.2.1 10.0.0.1 56324 443",
        "TCP6 [2001:db8::1] ::1 4711 443",
        "TCP6 fe80::1%eth0 ::1 4711 443",
        "tcp4 192.0.2.1 10.0.0.1 56324 443",
        "UDP4 192.0.2.1 10.0.0.1 56324 443",
        "UNKNOWNX",
        "TCP4 192.0.2.1 10.0.0.1 56324 443\rX",
        &long,
    ] {
        let text = format!("PROXY {line}\r\n");
        assert!(parse(text.as_bytes()).is_err(), "{line:?}");
    }
    for other in
        ["PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\n", "proxy UNKNOWN\r\n", "PROXY\r\n", "GET / HTTP/1.1\r\n"]
    {
        assert!(parse(other.as_bytes()).is_err(), "{other:?}");
    }
    // As long as it may be, and one byte longer without an end.
    let most = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 16));
    assert_eq!((most.len(), whole(most.as_bytes())), (LONGEST_LINE, Source::Own));
    assert!(parse(&[b'x'; 7]).is_err());
    assert!(parse(format!("PROXY UNKNOWN {}", "x".repeat(93)).as_bytes()).is_err());
}

#[test]
fn binary_headers() {
    let four = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 1, 187];
    let mut six = [0; 36];
    six[..16].copy_from_slice(&"2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    six[32..34].copy_from_slice(&4711_u16.to_be_bytes());
    let additions = [&four[..], &[4, 0, 2, 1, 2]].concat();
    for (header, source) in [
        (binary(0x21, 0x11, &four), client("192.0.2.1:56324")),
        (binary(0x21, 0x11, &additions), client("192.0.2.1:56324")),
        (binary(0x21, 0x21, &six), client("[2001:db8::1]:4711")),
        (binary(0x21, 0x31, &[b'/'; 216]), Source::Nameless),
        (binary(0x21, 0x00, b""), Source::Own),
        (binary(0x20, 0x00, b""), Source::Own),
        (binary(0x20, 0x11, &four), Source::Own),
        (binary(0x20, 0xff, b"whatever"), Source::Own),
        (binary(0x21, 0x11, &[&four[..], &[0; 4084]].concat()), client("192.0.2.1:56324")),
    ] {
        assert_eq!(whole(&header), source, "{header:?}");
    }
    for header in [
        binary(0x11, 0x11, &four),
        binary(0x22, 0x11, &four),
        binary(0x2f, 0x11, &four),
        binary(0x21, 0x12, &four),
        binary(0x21, 0x13, &four),
        binary(0x21, 0x41, &four),
        binary(0x21, 0x11, &four[..11]),
        binary(0x21, 0x21, &six[..35]),
        binary(0x21, 0x31, &[b'/'; 215]),
        binary(0x21, 0x11, &[0; 4097]),
    ] {
        assert!(parse(&header).is_err(), "{header:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged_as_they_come(
        head in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 "[..]), Just(SIGNATURE)],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [head, &rest].concat();
        let whole = parse(&bytes);
        // A judgement stands, whatever comes behind.
        for cut in 0..bytes.len() {
            match parse(&bytes[..cut]) {
                Ok(None) => {}
                Ok(Some((length, source))) => {
                    prop_assert!(length <= cut);
                    prop_assert_eq!(whole.as_ref().ok(), Some(&Some((length, source))));
                }
                Err(_) => prop_assert!(whole.is_err()),
            }
        }
    }
}
