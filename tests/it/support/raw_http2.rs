//! HTTP/2 frame by frame, for what no honest client sends.

use super::client::Client;
use super::gate::Gate;
use std::io;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `GET / http a`, in fields that change no table.
pub const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];
/// The same as a POST.
pub const POST: &[u8] = &[0x83, 0x86, 0x84, 0x01, 0x01, b'a'];

/// A frame that has come.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of `RST_STREAM`, or of GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection of which we write every byte.
pub struct RawHttp2(pub Client);

impl RawHttp2 {
    /// Says the preface and these settings.
    #[track_caller]
    pub fn connect(gate: &Gate, settings: &[(u16, u32)]) -> Self {
        let mut client = gate.connect();
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(key, value)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        client.send([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &payload)].concat());
        Self(client)
    }

    pub fn send(&mut self, frame: &[u8]) {
        self.0.send_anyway(frame);
    }

    /// The next frame.
    pub fn read(&mut self) -> io::Result<Frame> {
        let head = self.0.wire().exactly(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Ok(Frame { kind: head[3], stream, payload: self.0.wire().exactly(length)? })
    }

    /// The next frame for which this holds; what comes before is skipped.
    pub fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> io::Result<Frame> {
        loop {
            let frame = self.read()?;
            if wanted(&frame) {
                return Ok(frame);
            }
        }
    }
}
