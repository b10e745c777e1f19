//! Components in wasmtime.

mod bindings;
mod component;
mod engine;
mod host;
mod router;

pub use component::names as interfaces;
pub use engine::WasmEngine;
pub use router::WasmRouter;
