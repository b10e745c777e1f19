//! A small decoder of frames, written apart from the encoder so that each can find the other out.
//!
//! It serves the unit tests of the encoder too, and must not know it.

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
