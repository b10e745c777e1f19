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
    let headers = [(key, name), (":content-type", "application/json"), (":message-type", kind)];
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
#[path = "../tests/over_the_wire/frames.rs"]
pub(crate) mod decode;

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
