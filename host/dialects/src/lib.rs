//! Pure codecs between callers' dialects and the canonical form.
