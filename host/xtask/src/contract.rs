//! Writes what `kairos plugin contract` prints into wit/README.md.

use std::fs;

use crate::process::{Failed, cargo};
use crate::root;

const BEGIN: &str = "<!-- contract: written by `cargo xtask contract` -->\n";
const END: &str = "<!-- /contract -->\n";

pub(crate) fn write() -> Result<(), Failed> {
    let mut kairos = cargo();
    kairos.args(["run", "--quiet", "--package", "kairos-server", "--bin", "kairos", "--", "plugin", "contract"]);
    let printed = kairos.stderr(std::process::Stdio::inherit()).output();
    let printed = printed.map_err(|error| Failed(format!("kairos could not be run: {error}")))?;
    if !printed.status.success() {
        return Err(Failed(format!("`kairos plugin contract` failed ({})", printed.status)));
    }
    let path = root().join("wit/README.md");
    let page = fs::read_to_string(&path).map_err(Failed::at(&path))?;
    let page = with(&page, &String::from_utf8_lossy(&printed.stdout))?;
    fs::write(&path, page).map_err(Failed::at(&path))
}

/// The page with this part. Whatever is there now goes, marks of a merge included.
fn with(page: &str, part: &str) -> Result<String, Failed> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.rsplit_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| {
        Failed(format!("wit/README.md has no part between {:?} and {:?}", BEGIN.trim_end(), END.trim_end()))
    })?;
    Ok(format!("{before}{BEGIN}{part}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_is_replaced_with_whatever_is_in_it() {
        let page = |part: &str| format!("before\n{BEGIN}{part}{END}after\n");
        let merged = page("<<<<<<< HEAD\n| a |\n=======\n| b |\n>>>>>>> other\n");
        assert_eq!(with(&merged, "| c |\n").unwrap(), page("| c |\n"));
        assert!(with("nothing", "| c |\n").unwrap_err().0.contains("has no part between"));
    }
}
