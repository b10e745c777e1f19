//! Which file of a folder fills which slot.

use std::path::{Path, PathBuf};

use kairos_pipeline::policy::World;

use crate::load::{ENDINGS, SLOTS};

/// The world whose slot a file fills.
pub(crate) fn slot_of(path: &Path) -> Option<World> {
    let ending = path.extension()?.to_str()?;
    let stem = path.file_stem()?.to_str()?;
    World::from_name(stem).filter(|_| ENDINGS.contains(&ending))
}

/// The world for whose policy a file is there: its tests, or its signature.
pub(crate) fn slot_beside(path: &Path) -> Option<World> {
    let name = path.file_name()?.to_str()?;
    let signed = name.strip_suffix(".sig").and_then(|policy| slot_of(Path::new(policy)));
    signed.or_else(|| World::from_name(name.strip_suffix(".test.toml")?))
}

/// The newest file of a slot, which is the one that serves; of two that are equally new, the first by
/// name.
pub fn newest(folder: &Path, slot: &str) -> Option<PathBuf> {
    let files = ENDINGS.iter().map(|ending| folder.join(format!("{slot}.{ending}")));
    let dated = files.filter_map(|path| {
        let changed = path.metadata().ok().filter(std::fs::Metadata::is_file)?.modified().ok()?;
        Some((changed, std::cmp::Reverse(path)))
    });
    let mut dated: Vec<_> = dated.collect();
    dated.sort();
    if dated.len() > 1 {
        tracing::warn!(slot, "several files fill the slot; the newest serves");
    }
    dated.pop().map(|(_, path)| path.0)
}

/// Files that look like policies but have a name that is no slot's: they are never loaded.
pub fn strangers(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let is_stranger = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        (ENDINGS.contains(&ending) || ending == "cwasm") && slot_of(path).is_none()
    };
    entries.flatten().map(|entry| entry.path()).filter(is_stranger).collect()
}

pub(crate) fn warn_of_strangers(folder: &Path) {
    for path in strangers(folder) {
        tracing::warn!(file = %path.display(), slots = SLOTS.join(", "), "this file is not loaded: its name is no slot's");
    }
}
