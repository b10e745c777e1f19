//! Components in wasmtime.

mod bindings;
mod component;
mod engine;
mod host;
mod policy;
mod worlds;

pub(crate) use component::judges;
pub use component::names as interfaces;
pub use engine::WasmEngine;
pub use policy::WasmPolicy;
