//! Components in wasmtime.

mod adapter;
mod bindings;
mod component;
mod engine;
mod host;
#[cfg(test)]
mod made_up;
mod minors;
mod policy;
mod rows;
mod typed;
mod v0_1;
mod worlds;

pub(crate) use component::judges;
pub use component::names as interfaces;
pub use engine::WasmEngine;
pub use minors::{Minor, compatibility};
pub use policy::WasmPolicy;
