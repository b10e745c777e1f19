//! The contract's page says which versions are served and how their files are, as the gateway was built.

use kairos_tests::process::{ended, kairos};
use kairos_tests::root;

#[test]
fn the_page_of_the_contract_is_as_it_is_served() {
    let (code, printed) = ended(&kairos().args(["plugin", "contract"]).output().unwrap());
    assert_eq!(code, 0, "{printed}");
    let page = std::fs::read_to_string(root().join("wit/README.md")).unwrap();
    assert!(
        page.contains(&format!("-->\n{printed}<!-- /contract -->")),
        "a file of the contract, or the versions that are served, changed, and wit/README.md does not say so. \
         Within a minor, functions are added to interfaces and resources, interfaces and worlds to the package; \
         records, variants, enums and flags never change, and nothing of a frozen minor does (wit/README.md, Rules \
         of change). Where the change keeps to that, `cargo xtask contract` writes the page's part anew. Printed now:\n{printed}"
    );
    assert!(printed.starts_with("| version | state |") && printed.contains("| 0.1 | current |"), "{printed}");
    assert!(printed.contains("| `v0.1/router.wit` | `"), "{printed}");
}
