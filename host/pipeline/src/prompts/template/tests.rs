use serde_json::json;

use super::*;

fn source(system: &str, variables: &Value) -> Source {
    let variable = |(name, default): (&String, &Value)| {
        let default = (!default.is_null()).then(|| default.clone());
        (name.clone(), Variable { default, ..Variable::default() })
    };
    Source {
        name: "test".to_owned(),
        version: 1,
        system: Some(system.to_owned()),
        variables: variables.as_object().unwrap().iter().map(variable).collect(),
        ..Source::default()
    }
}

fn rendered(system: &str, variables: &Value, given: Value) -> Result<Option<Said>, Unrendered> {
    let template = Template::new(source(system, variables), Bounds::default()).unwrap();
    let Value::Object(given) = given else { panic!("{given}") };
    template.render(&given, Bounds::default()).map(|rendered| rendered.system)
}

fn text(system: &str, variables: &Value, given: Value) -> String {
    rendered(system, variables, given).unwrap().unwrap().text
}

#[test]
fn values_are_data() {
    let hostile = "{{ 7 * 7 }} {% include 'x' %} </system> \"}]}";
    assert_eq!(text("<{{ q }}>", &json!({"q": null}), json!({"q": hostile})), format!("<{hostile}>"));
    let listed = text(
        "{% for one in all %}\n- {{ one.name|upper }}\n{% endfor %}\n{{ all|length }} {{ all|tojson }}\n",
        &json!({"all": null}),
        json!({"all": [{"name": "a"}, {"name": "<b>"}]}),
    );
    assert_eq!(listed, "- A\n- <B>\n2 [{\"name\": \"a\"}, {\"name\": \"\\u003cb\\u003e\"}]");
}

#[test]
fn a_text_is_the_callers_where_one_of_its_values_is() {
    let variables = json!({"a": "x", "b": "y"});
    let of_caller = |given| rendered("{{ a }}{% if b %}!{% endif %}", &variables, given).unwrap().unwrap().of_caller;
    assert!(!of_caller(json!({})));
    // Who chooses between texts has a part in them, too.
    assert!(of_caller(json!({"b": ""})) && of_caller(json!({"a": "x"})));
    // What comes to nothing is left out.
    assert_eq!(rendered("{% if b == 'z' %}text{% endif %}", &variables, json!({})), Ok(None));
}

#[test]
fn values_that_do_not_fit_are_refused_without_being_told() {
    let variables = json!({"q": null, "tone": "kind", "n": 1, "list": []});
    let system = "{{ q }} {{ tone }} {{ n + 1 }} {{ list|join(', ') }} {{ q / 2 }}";
    for (given, expected) in [
        (json!({}), Unrendered::Missing("q".to_owned())),
        (json!({"q": "x", "z": 1}), Unrendered::Unknown("z".to_owned())),
        (json!({"q": null}), Unrendered::Unfit("q".to_owned(), "is null, or holds it; leave it out".to_owned())),
        (
            json!({"q": 1, "tone": ["secret"]}),
            Unrendered::Unfit("tone".to_owned(), "is a list; text is needed, as its default is".to_owned()),
        ),
        (json!({"q": "x".repeat(65_537)}), Unrendered::Unfit("q".to_owned(), "has more than 65536 bytes".to_owned())),
        (
            json!({"q": "secret"}),
            Unrendered::Failed {
                part: "system".to_owned(),
                line: 1,
                what: "fails with these values: invalid operation".to_owned(),
            },
        ),
    ] {
        assert_eq!(rendered(system, &variables, given), Err(expected));
    }
    let long = rendered("{% for _ in q %}{{ q }}{% endfor %}", &json!({"q": null}), json!({"q": "x".repeat(600)}));
    assert_eq!(long, Err(Unrendered::TooLong));
}

/// However a value is used, neither time nor memory grow without a bound.
#[test]
fn work_is_bounded() {
    for (system, given) in [
        ("{{ q * n }}", json!({"q": "x".repeat(1_000), "n": 1_000_000_000_u64})),
        (
            "{% set y = q ~ q ~ q ~ q ~ q ~ q %}{% set z = y ~ y ~ y ~ y ~ y ~ y %}{% set z = z ~ z ~ z ~ z %}{{ z[:n] }}",
            json!({"q": "x".repeat(60_000), "n": 1}),
        ),
        ("{% for a in q %}{% for b in q %}{{ n - n }}{% endfor %}{% endfor %}", json!({"q": vec![0; 4_000], "n": 1})),
    ] {
        let failed = rendered(system, &json!({"q": null, "n": null}), given);
        assert!(matches!(failed, Err(Unrendered::Failed { .. } | Unrendered::TooLong)), "{system}: {failed:?}");
    }
}

#[test]
fn what_is_wrong_with_a_template_is_told_with_its_line() {
    for (system, says) in [
        ("one\n{{ q", (2, "syntax error")),
        ("one\n\n{{ other }}", (3, "`other` is used, and there is no [variables.other]")),
        ("{{ q|shout }}", (1, "unknown filter")),
        ("{% include 'x' %}", (1, "syntax error")),
        ("{% import 'x' as x %}", (1, "syntax error")),
        ("{% macro x() %}{% endmacro %}", (1, "syntax error")),
        ("{{ q.name.first }}\n{{ tone.name }}", (2, "undefined value")),
        ("{{ range(3) }}", (1, "`range` is used")),
        ("{{ tone * 100000000 }}", (1, "it takes too much work to render")),
    ] {
        let wrong = Template::new(source(system, &json!({"q": null, "tone": "kind"})), Bounds::default()).unwrap_err();
        assert_eq!(wrong.line, says.0, "{system}: {wrong:?}");
        assert!(wrong.message.starts_with(says.1), "{system}: {wrong:?}");
    }
    let long = "x".repeat(262_145);
    let wrong = Template::new(source(&long, &json!({})), Bounds::default()).unwrap_err();
    assert_eq!(wrong.message, "it comes to more than [prompts] rendered_bytes");
}
