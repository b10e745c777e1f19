//! Policies in wasmtime and Rhai behind one set of traits.
