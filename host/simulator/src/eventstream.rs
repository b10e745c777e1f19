//! Frames of `application/vnd.amazon.eventstream`, written; nothing here reads them.
//!
//! A frame is: total length, header length, CRC of these eight bytes, headers, payload, CRC of all
//! before it. It must not know what the payloads mean.

use bytes::{BufMut, Bytes, BytesMut};

/// Prelude of two lengths and their CRC, and the CRC at the end.
const OVERHEAD: usize = 16;
/// Headers carry strings only: type 7.
const STRING: u8 = 7;

/// What a frame announces itself as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// `:message-type: event`.
    Event(&'a str),
    /// `:message-type: exception`.
    Exception(&'a str),
}

/// One whole frame with a JSON payload.
pub(crate) fn frame(message: Message<'_>, payload: &[u8]) -> Bytes {
    let (key, name, kind) = match message {
        Message::Event(name) => (":event-type", name, "event"),
        Message::Exception(name) => (":exception-type", name, "exception"),
    };
    let headers =
        [(key, name), (":content-type", "application/json"), (":message-type", kind)];
    let headers_len: usize = headers.iter().map(|(k, v)| 1 + k.len() + 3 + v.len()).sum();
    let total = OVERHEAD + headers_len + payload.len();
    let mut out = BytesMut::with_capacity(total);
    out.put_u32(length(total));
    out.put_u32(length(headers_len));
    out.put_u32(crc32fast::hash(&out));
    for (key, value) in headers {
        out.put_u8(u8::try_from(key.len()).unwrap_or(u8::MAX));
        out.put_slice(key.as_bytes());
        out.put_u8(STRING);
        out.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        out.put_slice(value.as_bytes());
    }
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}

fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The same frame with a message CRC that does not match.
pub(crate) fn with_bad_checksum(frame: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&frame[..]);
    if let Some(last) = bytes.last_mut() {
        *last ^= 0xff;
    }
    bytes.freeze()
}

/// The first half of a frame.
pub(crate) fn cut(frame: &Bytes) -> Bytes {
    frame.slice(..frame.len() / 2)
}

#[cfg(test)]
pub(crate) mod decode {
    //! A small decoder of frames, written apart from the encoder so that each can find the other out.

    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Eq)]
    pub(crate) struct Frame {
        pub(crate) headers: BTreeMap<String, String>,
        pub(crate) payload: Vec<u8>,
    }

    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum Broken {
        Truncated,
        PreludeCrc,
        MessageCrc,
    }

    /// Every whole frame, and what is wrong with the first that is not.
    pub(crate) fn all(mut bytes: &[u8]) -> (Vec<Frame>, Option<Broken>) {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            match one(bytes) {
                Ok((frame, rest)) => {
                    frames.push(frame);
                    bytes = rest;
                }
                Err(broken) => return (frames, Some(broken)),
            }
        }
        (frames, None)
    }

    fn number(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
    }

    /// CRC-32 bit by bit, from its definition.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| (c >> 1) ^ (0xEDB8_8320 & (c & 1).wrapping_neg()))
        })
    }

    fn one(bytes: &[u8]) -> Result<(Frame, &[u8]), Broken> {
        if bytes.len() < 12 {
            return Err(Broken::Truncated);
        }
        if number(&bytes[8..12]) != crc(&bytes[..8]) {
            return Err(Broken::PreludeCrc);
        }
        let (total, head) = (number(&bytes[..4]) as usize, number(&bytes[4..8]) as usize);
        if bytes.len() < total {
            return Err(Broken::Truncated);
        }
        if number(&bytes[total - 4..total]) != crc(&bytes[..total - 4]) {
            return Err(Broken::MessageCrc);
        }
        let mut headers = BTreeMap::new();
        let mut at = &bytes[12..12 + head];
        while !at.is_empty() {
            let name = String::from_utf8(at[1..=usize::from(at[0])].to_vec()).unwrap();
            at = &at[1 + name.len()..];
            assert_eq!(at[0], 7, "a string header");
            let len = number(&at[1..3]) as usize;
            headers.insert(name, String::from_utf8(at[3..3 + len].to_vec()).unwrap());
            at = &at[3 + len..];
        }
        let payload = bytes[12 + head..total - 4].to_vec();
        Ok((Frame { headers, payload }, &bytes[total..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams that botocore's own tools wrote, and how each ends.
    const STREAMS: &[(&str, &[u8], usize, Option<decode::Broken>)] = &[
        ("cs_text", include_bytes!("../tests/fixtures/streams/cs_text.bin"), 7, None),
        ("cs_tool", include_bytes!("../tests/fixtures/streams/cs_tool.bin"), 14, None),
        ("is_claude", include_bytes!("../tests/fixtures/streams/is_claude.bin"), 7, None),
        ("exception", include_bytes!("../tests/fixtures/streams/cs_exception_first.bin"), 1, None),
        (
            "cut",
            include_bytes!("../tests/fixtures/streams/cs_truncated_midframe.bin"),
            6,
            Some(decode::Broken::Truncated),
        ),
        (
            "checksum",
            include_bytes!("../tests/fixtures/streams/cs_bad_message_crc.bin"),
            1,
            Some(decode::Broken::MessageCrc),
        ),
    ];

    #[test]
    fn writes_the_bytes_that_others_write() {
        for (name, bytes, whole, broken) in STREAMS {
            let (frames, end) = decode::all(bytes);
            assert_eq!((frames.len(), &end), (*whole, broken), "{name}");
            let written: Vec<u8> = frames
                .iter()
                .flat_map(|f| {
                    let message = match f.headers.get(":event-type") {
                        Some(name) => Message::Event(name),
                        None => Message::Exception(&f.headers[":exception-type"]),
                    };
                    frame(message, &f.payload).to_vec()
                })
                .collect();
            assert_eq!(written, bytes[..written.len()], "{name}");
        }
    }

    #[test]
    fn damaged_frames_are_found_out() {
        let good = frame(Message::Event("chunk"), b"{}");
        assert_eq!(decode::all(&with_bad_checksum(&good)).1, Some(decode::Broken::MessageCrc));
        assert_eq!(decode::all(&cut(&good)).1, Some(decode::Broken::Truncated));
    }
}
