//! The routers that are built in. `policies/ROUTING.md` defines them; the same are written in
//! `policies/*.rhai` and as components in `plugins/`.

mod score;
mod task;

pub use score::Score;
pub use task::Task;

use crate::policy::Identity;

/// The identity of a built-in router: its digest is the version it came with.
pub(crate) fn built_in(name: &str, reasons: &[(u32, &str)], model_names: &[&str]) -> Identity {
    Identity::new(
        format!("native-{name}"),
        env!("CARGO_PKG_VERSION"),
        reasons.iter().map(|&(code, name)| (code, name.into())).collect(),
        model_names.iter().map(|&name| name.to_owned()).collect(),
    )
}
