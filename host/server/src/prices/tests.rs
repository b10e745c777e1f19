use super::*;
use kairos_pipeline::models::Answering;

const DAY: &str = "2026-11-23";

fn row(input: &str) -> String {
    format!("[[price]]\nmodel = \"nova-lite\"\nat = \"in-region\"\ninput = \"{input}\"\noutput = \"1\"\n")
}

/// A book over a file with this in it.
fn book(folder: &Path, own: &str, kept: usize) -> Result<Book, AssemblyError> {
    let file = folder.join("prices.toml");
    std::fs::write(&file, own).unwrap();
    let mut config = Config { data: folder.join("data"), ..Config::default() };
    config.models.as_of = Some(DAY.parse().unwrap());
    (config.models.prices, config.models.kept_prices) = (Some(file), kept);
    Book::open(&config, "us-east-1", DAY.parse().unwrap())
}

/// What the input of a model costs, in millionths of a dollar a million.
fn input(catalogue: &Catalogue) -> u64 {
    let Answering::Target { target, .. } = catalogue.answering("nova-lite") else { panic!() };
    catalogue.prices(&catalogue.targets[target], catalogue.day).rates(Default::default(), 1).unwrap().input
}

#[test]
fn good_prices_serve_and_bad_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let book = book(folder.path(), &row("0.05"), 64).unwrap();
    let file = folder.path().join("prices.toml");
    let serves = book.catalogue();
    let before = serves.load_full();
    assert_eq!(input(&before), 50_000);
    std::fs::write(&file, row("0.04")).unwrap();
    book.look();
    assert_eq!(input(&serves.load()), 40_000);
    // What a request holds is as it was.
    assert_eq!(input(&before), 50_000);
    assert_ne!(before.version, serves.load().version);
    let good = serves.load_full();
    std::fs::write(&file, format!("\n{}", row("4e-2"))).unwrap();
    book.look();
    book.look();
    std::fs::remove_file(&file).unwrap();
    book.look();
    let status = book.status();
    let message = "the file cannot be read: No such file or directory (os error 2)".to_owned();
    assert_eq!(status.wrong, Some(Wrong { file: file.clone(), line: None, message }));
    assert_eq!((status.loaded, status.refused, status.version), (2, 2, Arc::clone(&good.version)));
    // The date turns: own prices that serve do so on.
    book.serves.store(Arc::new(Catalogue { as_of: "2026-11-22".to_owned(), ..Catalogue::clone(&good) }));
    book.follow_the_date().unwrap();
    assert_eq!((input(&serves.load()), &*serves.load().as_of), (40_000, DAY));
    // What served before is as good as new.
    std::fs::write(&file, row("0.05")).unwrap();
    book.look();
    assert_eq!((book.status().wrong, book.status().loaded), (None, 3));
    assert_eq!(serves.load().version, before.version);
}

#[test]
fn nothing_begins_without_good_prices() {
    let folder = tempfile::tempdir().unwrap();
    let why = |own: &str| {
        let error = book(folder.path(), own, 64).err().unwrap().to_string();
        error.replace(&folder.path().display().to_string(), "FOLDER")
    };
    let large = format!("#{}", " ".repeat(1 << 20));
    insta::assert_snapshot!([why(&format!("\n{}", row("1e3"))), why(&large)].join("\n"), @r#"
    models.prices: FOLDER/prices.toml:2: "1e3" is not a decimal number of dollars per million tokens with at most 6 places
    models.prices: FOLDER/prices.toml: the file is larger than 1048576 bytes
    "#);
}

#[test]
fn what_served_is_kept_up_to_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let book = book(folder.path(), &row("0.01"), 3).unwrap();
    let mut versions = vec![book.status().version];
    for price in ["0.02", "0.03", "0.04"] {
        // Apart in time, as those of an operator are.
        for (age, sheet) in book.sheets.list().iter().enumerate() {
            let file = std::fs::File::options().append(true).open(book.sheets.path(&sheet.version)).unwrap();
            let at = std::time::SystemTime::now() - std::time::Duration::from_secs(60 * (age as u64 + 1));
            file.set_modified(at).unwrap();
        }
        std::fs::write(folder.path().join("prices.toml"), row(price)).unwrap();
        book.look();
        versions.push(book.status().version);
    }
    let kept: Vec<_> = book.sheets.list().into_iter().map(|sheet| sheet.version).collect();
    assert_eq!(kept, [3, 2, 1].map(|place: usize| versions[place].to_string()));
    assert_eq!(book.sheets.removed(), 1);
    let (version, text) = book.sheets.find(&versions[2][..12]).unwrap();
    assert_eq!((&*version, text), (&*versions[2], sheet(BUILT_IN, &row("0.03"))));
    let lost = book.sheets.find(&versions[0][..12]).unwrap_err().to_string();
    assert!(lost.contains(&versions[3][..12]), "{lost}");
    assert!(matches!(book.sheets.find("12345"), Err(sheets::NoSheet::Form(_))));
    assert!(matches!(book.sheets.find("../../salt"), Err(sheets::NoSheet::Form(_))));
    std::fs::write(book.sheets.path(&version), "other").unwrap();
    let changed = book.sheets.find(&version).unwrap_err().to_string();
    assert!(changed.ends_with("it was changed after it served"), "{changed}");
}
