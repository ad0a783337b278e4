//! WebSocket frames by hand (RFC 6455 §5), for both ends: a test decides about every bit.

use super::client::{Client, Reply};
use super::gate::Gate;
use super::request::{Ask, get};
use super::service::{Exchange, Request};
use super::wire::Wire;
use std::io;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The key of every handshake here (RFC 6455 §1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub last: bool,
    pub opcode: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { last: true, opcode, masked: false, payload: payload.as_ref().to_vec() }
    }

    pub fn text(text: &str) -> Self {
        Self::new(TEXT, text)
    }

    pub fn close(code: u16) -> Self {
        Self::new(CLOSE, code.to_be_bytes())
    }

    /// As a client must send it.
    pub fn masked(mut self) -> Self {
        self.masked = true;
        self
    }

    /// More of the message follows.
    pub fn unfinished(mut self) -> Self {
        self.last = false;
        self
    }

    /// The status of a close frame.
    pub fn code(&self) -> Option<u16> {
        let code = self.payload.first_chunk::<2>()?;
        (self.opcode == CLOSE).then(|| u16::from_be_bytes(*code))
    }

    pub fn bytes(&self) -> Vec<u8> {
        const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
        let length = self.payload.len();
        let mut bytes = vec![(u8::from(self.last) << 7) | self.opcode];
        let mask_bit = u8::from(self.masked) << 7;
        match length {
            0..=125 => bytes.push(mask_bit | u8::try_from(length).unwrap()),
            126..=0xffff => {
                bytes.push(mask_bit | 0x7e);
                bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 0x7f);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if self.masked {
            bytes.extend_from_slice(&MASK);
        }
        let mask = if self.masked { MASK } else { [0; 4] };
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    pub fn read(wire: &mut Wire) -> io::Result<Self> {
        let head = wire.exactly(2)?;
        let masked = head[1] & 0x80 != 0;
        let length = match head[1] & 0x7f {
            0x7e => u64::from(u16::from_be_bytes(wire.exactly(2)?.try_into().unwrap())),
            0x7f => u64::from_be_bytes(wire.exactly(8)?.try_into().unwrap()),
            short => u64::from(short),
        };
        let mask = if masked { wire.exactly(4)? } else { vec![0; 4] };
        let payload = wire.exactly(usize::try_from(length).unwrap())?;
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        Ok(Self { last: head[0] & 0x80 != 0, opcode: head[0] & 0x0f, masked, payload })
    }
}

/// A valid handshake.
pub fn handshake(target: &str) -> Ask {
    get(target)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", KEY)
        .header("Sec-WebSocket-Version", "13")
}

/// An open WebSocket.
pub struct Socket {
    client: Client,
    pub reply: Reply,
}

impl Socket {
    /// Opens one; fails unless it is accepted.
    #[track_caller]
    pub fn open(gate: &Gate, handshake: &Ask) -> Self {
        let mut client = gate.connect();
        let reply = handshake.on(&mut client).expect(101, "handshake");
        assert_eq!(reply.header("sec-websocket-accept"), Some(derive_accept_key(KEY.as_bytes()).as_str()));
        Self { client, reply }
    }

    #[track_caller]
    pub fn send(&mut self, frame: Frame) {
        self.client.send(frame.masked().bytes());
    }

    #[track_caller]
    pub fn read(&mut self) -> Frame {
        self.try_read().unwrap_or_else(|error| panic!("no frame: {error}"))
    }

    pub fn try_read(&mut self) -> io::Result<Frame> {
        Frame::read(self.client.wire())
    }

    /// Sends this text and fails unless it comes back.
    #[track_caller]
    pub fn echo(&mut self, text: &str) {
        self.send(Frame::text(text));
        assert_eq!(self.read().payload, text.as_bytes());
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// The service's good answer to a handshake.
pub fn accepted(request: &Request, extra: &str) -> String {
    let key = request.header("sec-websocket-key").unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{extra}\r\n",
        derive_accept_key(key.as_bytes())
    )
}

/// Accepts the handshake and echoes every frame until one closes.
pub fn echo(exchange: &mut Exchange<'_>) -> io::Result<()> {
    echo_with(exchange, "")
}

/// As [`echo`], with further header lines in the answer.
pub fn echo_with(exchange: &mut Exchange<'_>, extra: &str) -> io::Result<()> {
    let request = exchange.request();
    if !request.headers.has("upgrade") {
        return exchange.ok("no websocket");
    }
    exchange.write(accepted(&request, extra))?;
    let wire = exchange.wire();
    loop {
        let frame = Frame::read(wire)?;
        assert!(frame.masked, "frames to a service are masked");
        wire.write(&Frame { masked: false, ..frame.clone() }.bytes())?;
        if frame.opcode == CLOSE {
            // The server closes first (RFC 6455 §7.1.1), and reads on so that nothing is lost in a reset.
            wire.stream().end_writing();
            while wire.fill()? {}
            return Ok(());
        }
    }
}
