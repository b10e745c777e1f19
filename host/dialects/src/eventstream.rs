//! AWS's event stream framing (`application/vnd.amazon.eventstream`).
//!
//! A frame is: total length, header length, CRC-32 of these two (four bytes each, big endian),
//! headers, payload, CRC-32 of all before. The decoder takes the bytes in any split and gives
//! frames whose raw bytes are kept, so that they can be passed on as they came.
//! Source: the Smithy specification "Amazon Event Stream" and the frames in `fixtures/`.

use bytes::{Buf, Bytes, BytesMut};

/// Lengths and their checksum.
const PRELUDE: usize = 12;
/// The checksum at the end.
const TRAILER: usize = 4;
/// Bedrock's chunks hold at most 1,000,000 bytes, in base64; a frame beyond this is not Bedrock's.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

/// What kind of message a frame carries (`:message-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// An event of the operation.
    Event,
    /// An error that the service model knows.
    Exception,
    /// An error that it does not know: code and message are in the headers.
    Error,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What kind of message it is.
    pub message_type: MessageType,
    /// The event's, exception's or error's name.
    pub name: Bytes,
    /// `:error-message`, for [`MessageType::Error`].
    pub error_message: Option<Bytes>,
    /// What it carries, JSON for Bedrock.
    pub payload: Bytes,
    /// The whole frame as it came.
    pub raw: Bytes,
}

impl Frame {
    /// An event of Bedrock's, with a payload of JSON.
    pub fn event(name: &str, payload: Vec<u8>) -> Self {
        let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
        Self {
            message_type: MessageType::Event,
            name: Bytes::copy_from_slice(name.as_bytes()),
            error_message: None,
            raw: encode(&headers, &payload),
            payload: payload.into(),
        }
    }

    /// The name as text; empty where it is not UTF-8.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or_default()
    }
}

/// Why bytes are not a stream of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length that no frame can have.
    #[error("a frame of {0} bytes is outside what an event stream allows")]
    Length(usize),
    /// The lengths' checksum does not match.
    #[error("the checksum of a frame's prelude does not match")]
    PreludeChecksum,
    /// The frame's checksum does not match.
    #[error("the checksum of a frame does not match")]
    MessageChecksum,
    /// The headers do not parse, or say nothing of the message's kind.
    #[error("the headers of a frame are malformed")]
    Headers,
    /// The stream ended within a frame.
    #[error("the stream ended within a frame, {0} bytes into it")]
    Truncated(usize),
}

/// Splits bytes into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes bytes, in whatever pieces they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or none until more bytes come. After an error the stream has no
    /// further frames: its boundaries are lost.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.buffer.len() < PRELUDE {
            return Ok(None);
        }
        let mut prelude = &self.buffer[..PRELUDE];
        let (total, headers) = (prelude.get_u32() as usize, prelude.get_u32() as usize);
        if crc32fast::hash(&self.buffer[..8]) != prelude.get_u32() {
            return Err(FrameError::PreludeChecksum);
        }
        if total > MAX_FRAME || headers > total.saturating_sub(PRELUDE + TRAILER) || total < PRELUDE + TRAILER {
            return Err(FrameError::Length(total));
        }
        if self.buffer.len() < total {
            // Grow by what has arrived, not by what a frame claims to be.
            return Ok(None);
        }
        let raw = self.buffer.split_to(total).freeze();
        let (checked, mut trailer) = raw.split_at(total - TRAILER);
        if crc32fast::hash(checked) != trailer.get_u32() {
            return Err(FrameError::MessageChecksum);
        }
        let payload = raw.slice(PRELUDE + headers..total - TRAILER);
        parse_headers(raw.slice(PRELUDE..PRELUDE + headers), payload, raw).map(Some)
    }

    /// Says whether the stream may end here.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(FrameError::Truncated(self.buffer.len())) }
    }
}

fn parse_headers(mut headers: Bytes, payload: Bytes, raw: Bytes) -> Result<Frame, FrameError> {
    let mut message_type = None;
    let (mut event, mut exception, mut code, mut message) = (None, None, None, None);
    while !headers.is_empty() {
        let name_length = headers.get_u8() as usize;
        let name = take(&mut headers, name_length)?;
        let value = header_value(&mut headers)?;
        match &name[..] {
            b":message-type" => {
                message_type = match value.as_deref() {
                    Some(b"event") => Some(MessageType::Event),
                    Some(b"exception") => Some(MessageType::Exception),
                    Some(b"error") => Some(MessageType::Error),
                    _ => return Err(FrameError::Headers),
                };
            }
            b":event-type" => event = value,
            b":exception-type" => exception = value,
            b":error-code" => code = value,
            b":error-message" => message = value,
            _ => {}
        }
    }
    let message_type = message_type.ok_or(FrameError::Headers)?;
    let name = match message_type {
        MessageType::Event => event,
        MessageType::Exception => exception,
        MessageType::Error => code,
    };
    let name = name.ok_or(FrameError::Headers)?;
    Ok(Frame { message_type, name, error_message: message, payload, raw })
}

/// Reads a header's value; only strings are kept.
fn header_value(headers: &mut Bytes) -> Result<Option<Bytes>, FrameError> {
    if headers.is_empty() {
        return Err(FrameError::Headers);
    }
    let length = match headers.get_u8() {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        kind @ (6 | 7) => {
            let length = take(headers, 2)?.get_u16() as usize;
            let value = take(headers, length)?;
            return Ok((kind == 7).then_some(value));
        }
        _ => return Err(FrameError::Headers),
    };
    take(headers, length).map(|_| None)
}

fn take(from: &mut Bytes, length: usize) -> Result<Bytes, FrameError> {
    if from.len() < length { Err(FrameError::Headers) } else { Ok(from.split_to(length)) }
}

/// Writes a frame with string headers.
pub fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let header_length: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let total = PRELUDE + header_length + payload.len() + TRAILER;
    let mut frame = Vec::with_capacity(total);
    frame.extend_from_slice(&(total as u32).to_be_bytes());
    frame.extend_from_slice(&(header_length as u32).to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    for (name, value) in headers {
        frame.push(name.len() as u8);
        frame.extend_from_slice(name.as_bytes());
        frame.push(7);
        frame.extend_from_slice(&(value.len() as u16).to_be_bytes());
        frame.extend_from_slice(value.as_bytes());
    }
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.into()
}

/// Writes an exception as Bedrock sends it within a stream.
pub fn encode_exception(name: &str, payload: &[u8]) -> Bytes {
    encode(&[(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")], payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(pieces: &[&[u8]]) -> (Vec<Frame>, Result<(), FrameError>) {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Err(error)),
                }
            }
        }
        let end = decoder.finish();
        (frames, end)
    }

    fn sample() -> Vec<u8> {
        let mut bytes = encode(
            &[(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")],
            b"{\"bytes\":\"e30=\"}",
        )
        .to_vec();
        bytes.extend_from_slice(&encode_exception("throttlingException", b"{\"message\":\"m\"}"));
        bytes
    }

    #[test]
    fn a_split_anywhere_gives_the_same_frames() {
        let bytes = sample();
        let (whole, end) = decode_all(&[&bytes]);
        assert_eq!((whole.len(), end), (2, Ok(())));
        assert_eq!((whole[0].name(), whole[0].message_type), ("chunk", MessageType::Event));
        assert_eq!((whole[1].name(), whole[1].message_type), ("throttlingException", MessageType::Exception));
        for at in 0..=bytes.len() {
            assert_eq!(decode_all(&[&bytes[..at], &bytes[at..]]), (whole.clone(), Ok(())), "split at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode_all(&single), (whole, Ok(())));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let bytes = sample();
        let (whole, _) = decode_all(&[&bytes]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            let (frames, end) = decode_all(&[&changed]);
            assert!(end.is_err(), "byte {at} changed unnoticed");
            assert!(frames.len() < whole.len() && frames == whole[..frames.len()]);
        }
        let boundary = whole[0].raw.len();
        for at in 1..bytes.len() {
            let (_, end) = decode_all(&[&bytes[..at]]);
            assert_eq!(end.is_ok(), at == boundary, "cut at {at}");
        }
    }

    #[test]
    fn a_claimed_length_reserves_no_memory() {
        let mut decoder = Decoder::default();
        let mut head = Vec::new();
        head.extend_from_slice(&(MAX_FRAME as u32).to_be_bytes());
        head.extend_from_slice(&0u32.to_be_bytes());
        head.extend_from_slice(&crc32fast::hash(&head).to_be_bytes());
        decoder.push(&head);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.buffer.capacity() < 4096);
    }

    #[test]
    fn headers_of_every_type_are_skipped() {
        let mut headers = Vec::new();
        for (kind, length) in [(0u8, 0usize), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            headers.extend_from_slice(&[1, b'h', kind]);
            headers.extend(std::iter::repeat_n(0xff, length));
        }
        headers.extend_from_slice(&[1, b'b', 6, 0, 2, 0xff, 0xff]);
        for (name, value) in [(":message-type", "error"), (":error-code", "Code"), (":error-message", "text")] {
            headers.push(name.len() as u8);
            headers.extend_from_slice(name.as_bytes());
            headers.extend_from_slice(&[7, 0, value.len() as u8]);
            headers.extend_from_slice(value.as_bytes());
        }
        let frame = parse_headers(headers.into(), Bytes::new(), Bytes::new()).unwrap();
        assert_eq!((frame.message_type, frame.name()), (MessageType::Error, "Code"));
        assert_eq!(frame.error_message.as_deref(), Some(&b"text"[..]));
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode_all(&[&bytes]);
        }

        #[test]
        fn rubbish_headers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_headers(bytes.into(), Bytes::new(), Bytes::new());
        }
    }
}
