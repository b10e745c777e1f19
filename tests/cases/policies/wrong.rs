//! Files of tests that are wrong.

use super::{MODELS, TEAMS, tested};

/// Each wrong file of tests, and the place and words of what is wrong.
#[test]
fn wrong_tests_are_told_with_their_place() {
    let test = |says: &str| format!("{MODELS}[[test]]\nname = \"it\"\n{says}\n");
    let expects = |says: &str| test(&format!("expect = {{ {says} }}"));
    let many = |from: usize, to: usize| -> String {
        (from..to)
            .map(|number| format!("[[test]]\nname = \"{number}\"\nexpect = {{ first = \"nova-micro\" }}\n"))
            .collect()
    };
    let files: Vec<String> = vec![
        String::new(),
        "models = [\"nova-lite\"\n[[test]]".to_owned(),
        "as_of = \"2026-13-01\"\n".to_owned(),
        "as_of = 2026-11-23\n".to_owned(),
        MODELS.replace("nova-micro", "nova-micor"),
        MODELS.replace("nova-micro", "nova-lite"),
        MODELS.replace("\"nova-micro\"", "{ latency_ms = 5 }"),
        MODELS.replace("\"nova-micro\"", "{ id = \"nova-micro\", latency = 5 }"),
        MODELS.replace("\"nova-micro\"", "{ id = \"nova-micro\", latency_ms = 5.5 }"),
        MODELS.replace("\"nova-micro\"", "{ id = \"nova-micro\", failures = 65 }"),
        MODELS.replace("\"nova-micro\"", "{ id = \"nova-micro\", strengths = [\"sped\"] }"),
        "models = []\n".to_owned(),
        format!("{MODELS}[[tests]]\nname = \"it\"\n"),
        format!("{MODELS}[[test]]\nexpect = {{ declined = true }}\n"),
        "[[test]]\nname = \"it\"\nexpect = { declined = true }\n".to_owned(),
        test(""),
        test("expects = { declined = true }"),
        test("features = { taks = \"code\" }\nexpect = { declined = true }"),
        test("features = { task = \"cod\" }\nexpect = { declined = true }"),
        test("features = { max_latency_ms = -1 }\nexpect = { declined = true }"),
        test("features = { accuracy = 1.5 }\nexpect = { declined = true }"),
        test("features = { streaming = 1 }\nexpect = { declined = true }"),
        test("features = { named = \"nova-pro\" }\nexpect = { declined = true }"),
        test("request = { tags = [\"team\"] }\nexpect = { declined = true }"),
        test("kv = { best = 3 }\nexpect = { declined = true }"),
        test("config = { day = 2026-11-23 }\nexpect = { declined = true }"),
        expects(""),
        expects("fisrt = \"nova-lite\""),
        expects("first = \"nova-pro\""),
        expects("order = \"nova-lite\""),
        expects("probability = { nova-lite = 2 }"),
        expects("declined = true, reason = 1"),
        expects("declined = false"),
        expects("cache = \"bypas\""),
        format!("{}[[test]]\nname = \"it\"\nexpect = {{ declined = true }}\n", expects("declined = true")),
        format!("{MODELS}{}", many(0, 1_001)),
        format!("{MODELS}{}# {}", many(0, 1), "x".repeat(256 * 1024)),
        // Deep enough to fill a stack, if it were followed.
        format!("{MODELS}{} = 1\n", vec!["a"; 50_000].join(".")),
        format!("models = {}\n", "[".repeat(50_000)),
    ];
    let mut report = String::new();
    for text in files {
        let (code, said) = tested(&[("x.rhai", TEAMS.as_bytes()), ("x.test.toml", text.as_bytes())], &["x.rhai"]);
        assert_eq!(code, 1, "{said}");
        assert!(said.starts_with("x.test.toml"), "{said}");
        report.push_str(&said);
    }
    let (code, said) = tested(&[("x.rhai", TEAMS.as_bytes()), ("x.test.toml", b"name = \"\xff\"")], &["x.rhai"]);
    assert_eq!(code, 1);
    report.push_str(&said);
    insta::assert_snapshot!(report, @r#"
    x.test.toml:1:1: there is no [[test]] in the file
    x.test.toml:2:1: missing comma between array elements, expected `,`
    x.test.toml:1:9: as_of: "2026-13-01" is not a day, as 2026-11-23 is
    x.test.toml:1:9: as_of is a date without quotes; text is needed
    x.test.toml:3:24: models: there is no model "nova-micor"; did you mean "nova-micro"?
    x.test.toml:3:24: models: amazon.nova-lite-v1:0 is there twice
    x.test.toml:3:24: models: a model needs its `id`, a name of the catalogue
    x.test.toml:3:45: there is no key "models.latency"; did you mean "latency_ms"?
    x.test.toml:3:58: models.latency_ms is a number; a whole number is needed
    x.test.toml:3:56: models.failures: 65 is not between 0 and 64
    x.test.toml:3:58: models.strengths: there is no "sped"; did you mean "speed"?
    x.test.toml:1:10: models: 0 models; 1 to 16 can be on offer
    x.test.toml:4:3: there is no key "tests"; did you mean "test"?
    x.test.toml:4:1: a test needs a `name`
    x.test.toml:2:8: the test has no models: name some under `models`, in it or at the top of the file
    x.test.toml:5:8: the test has no `expect`: it would pass whatever happens
    x.test.toml:6:1: there is no key "expects"; did you mean "expect"?
    x.test.toml:6:14: there is no key "features.taks"; did you mean "task"?
    x.test.toml:6:21: features.task: there is no "cod"; did you mean "code"?
    x.test.toml:6:31: features.max_latency_ms: -1 is not between 0 and 4294967295
    x.test.toml:6:25: features.accuracy: 1.5 is not between 0 and 1
    x.test.toml:6:26: features.streaming is a whole number; true or false is needed
    x.test.toml:6:22: features.named: "nova-pro" is not among the test's models
    x.test.toml:6:20: request.tags is a list; a table is needed
    x.test.toml:6:15: kv.best is a whole number; text is needed
    x.test.toml:6:18: config.day is a date without quotes; text, a number, true or false, a list or a table is needed
    x.test.toml:6:10: expect: it is empty: the test would pass whatever happens
    x.test.toml:6:12: there is no key "expect.fisrt"; did you mean "first"?
    x.test.toml:6:20: expect.first: "nova-pro" is not among the test's models
    x.test.toml:6:20: expect.order is text; a list is needed
    x.test.toml:6:40: expect.probability.nova-lite: 2 is not between 0 and 1
    x.test.toml:6:10: expect: `declined`, `refused` and what a plan is to be exclude one another
    x.test.toml:6:23: expect.declined: leave it out, and say what is expected of the plan
    x.test.toml:6:20: expect.cache: there is no "bypas"; did you mean "bypass"?
    x.test.toml:8:8: two tests have the name "it"
    x.test.toml:3004:1: there are more than 1000 tests
    x.test.toml: the policy's tests have more than 262144 bytes
    x.test.toml:1:1: recursion limit
    x.test.toml:1:90: cannot recurse further; max recursion depth met
    x.test.toml:1:9: this is not UTF-8
    "#);
}
