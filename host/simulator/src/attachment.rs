//! Images, documents and recordings, weighed in tokens and then forgotten.
//!
//! It must not know dialects.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::conversation::{Block, Media, MediaKind};
use crate::error::ApiError;
use crate::tokens;

/// With padding or without, as SDKs differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a blob.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, ApiError> {
    BASE64.decode(text).map_err(|e| ApiError::serialization(format!("not base64: {e}")))
}

/// An attachment of which the bytes are at hand.
pub(crate) fn block<'a>(kind: MediaKind, format: &str, bytes: &[u8]) -> Block<'a> {
    let tokens = match (kind, std::str::from_utf8(bytes)) {
        (MediaKind::Document, Ok(text)) if ["txt", "md", "csv", "html"].contains(&format) => {
            return self::text(text);
        }
        (MediaKind::Image, _) => tokens::image(bytes.len()),
        (MediaKind::Document | MediaKind::Redacted, _) => tokens::binary_document(bytes.len()),
        (MediaKind::Video | MediaKind::Audio, _) => tokens::recording(bytes.len()),
    };
    Block::Media(Media::new(kind, tokens, bytes))
}

/// A document that is plain text counts as its text.
pub(crate) fn text<'a>(text: &str) -> Block<'a> {
    Block::Media(Media::new(MediaKind::Document, tokens::count(text), text.as_bytes()))
}
