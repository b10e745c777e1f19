//! The event stream's decoder, beside the checksums that it cannot do without.

use std::time::Instant;

use kairos_dialects::eventstream::{Decoder, encode};

use crate::measure::{head, median, row};

const TURNS: usize = 9;
const FRAMES: usize = 50_000;
/// As pieces come off a connection.
const PIECE: usize = 1_460;

/// Measures the decoder and prints its table.
pub(crate) fn run() {
    println!("\n## The event stream's decoder\n");
    let payload = serde_json::json!({"contentBlockIndex": 0, "delta": {"text": "a piece of text "}}).to_string();
    let headers =
        [(":event-type", "contentBlockDelta"), (":content-type", "application/json"), (":message-type", "event")];
    let frame = encode(&headers, payload.as_bytes());
    let stream = frame.repeat(FRAMES);
    let (mut decoding, mut copying) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let started = Instant::now();
        assert_eq!(decode(&stream), FRAMES);
        decoding.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        std::hint::black_box(stream.chunks(PIECE).map(<[u8]>::to_vec).collect::<Vec<_>>());
        copying.push(started.elapsed().as_secs_f64());
    }
    let ratio = median(decoding.iter().zip(&copying).map(|(ours, copy)| ours / copy).collect());
    let seconds = median(decoding);
    head(&["frame", "ns", "MB/s", "× copying the bytes once"]);
    row(&[
        format!("{} bytes", frame.len()),
        format!("{:.0}", seconds * 1e9 / FRAMES as f64),
        format!("{:.0}", stream.len() as f64 / seconds / 1e6),
        format!("{ratio:.1}"),
    ]);
}

fn decode(stream: &[u8]) -> usize {
    let mut decoder = Decoder::default();
    let mut frames = 0;
    for piece in stream.chunks(PIECE) {
        decoder.push(piece);
        while decoder.next_frame().unwrap().is_some() {
            frames += 1;
        }
    }
    frames
}
