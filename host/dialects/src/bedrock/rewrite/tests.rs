use super::*;

fn with(change: impl FnOnce(&mut Rewrite)) -> Rewrite {
    let mut rewrite = Rewrite::default();
    change(&mut rewrite);
    rewrite
}

fn rewritten(body: &str, change: &Rewrite) -> String {
    let body = rewrite(body.as_bytes(), change).unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn at(message: u32, piece: u32) -> Place {
    Place { message, piece }
}

#[test]
fn what_is_not_changed_keeps_its_bytes() {
    let body = r#"{"x":[1.50, {"a" : null}],"messages":[ {"role" : "user","content":[{"text":"ü"}]} ],"inferenceConfig":{"topP":1e0}}"#;
    assert_eq!(rewritten(body, &Rewrite::default()), body);
    let changed = rewritten(body, &with(|change| change.temperature = Edit::Set(0.5)));
    assert_eq!(changed, body.replace(r#"{"topP"#, r#"{"temperature":0.5,"topP"#));
}

#[test]
fn system_prompts() {
    let of = |system: &str| format!(r#"{{"system":{system},"messages":[]}}"#);
    let (point, one) = (r#"{"cachePoint":{"type":"default"}}"#, r#"{"text":"one"}"#);
    let both = of(&format!(r#"[{one},{point},{{"text" : "two"}},{point}]"#));
    let around = with(|change| {
        change.system_before = Some("before".to_owned());
        change.system_after = Some("after".to_owned());
    });
    let expected = format!(r#"[{{"text":"before"}},{one},{point},{{"text" : "two"}},{point},{{"text":"after"}}]"#);
    assert_eq!(rewritten(&both, &around), of(&expected));
    assert_eq!(rewritten(r#"{"messages":[]}"#, &around), of(r#"[{"text":"before"},{"text":"after"}]"#));
    assert_eq!(rewritten(&of("null"), &around), of(r#"[{"text":"before"},{"text":"after"}]"#));
    let replaced = with(|change| change.system = SystemEdit::Replace("\"new\"".to_owned()));
    assert_eq!(rewritten(&both, &replaced), of(&format!(r#"[{{"text":"\"new\""}},{point},{point}]"#)));
    assert_eq!(rewritten(r#"{"messages":[]}"#, &replaced), of(r#"[{"text":"\"new\""}]"#));
    let removed = with(|change| change.system = SystemEdit::Remove);
    // A cache point caches what comes before it.
    assert_eq!(rewritten(&both, &removed), of("[]"));
}

#[test]
fn messages_in_front_are_merged_with_their_neighbours() {
    let lead = with(|change| {
        let said = [(Role::User, "a"), (Role::User, "b"), (Role::Assistant, "c"), (Role::User, "d")];
        change.lead = said.map(|(role, text)| (role, text.to_owned())).to_vec();
    });
    let front =
        r#"{"role":"user","content":[{"text":"a"},{"text":"b"}]},{"role":"assistant","content":[{"text":"c"}]}"#;
    for (own, behind) in [
        (r#"{"role":"user","content":[{"text":"e"}]}"#, r#",{"role":"user","content":[{"text":"d"},{"text":"e"}]}"#),
        (
            r#"{"role":"assistant","content":[{"text":"e"}]}"#,
            r#",{"role":"user","content":[{"text":"d"}]},{"role":"assistant","content":[{"text":"e"}]}"#,
        ),
        ("", r#",{"role":"user","content":[{"text":"d"}]}"#),
    ] {
        let body = format!(r#"{{"messages":[{own}]}}"#);
        assert_eq!(rewritten(&body, &lead), format!(r#"{{"messages":[{front}{behind}]}}"#));
    }
    assert!(rewritten("{}", &lead).starts_with(r#"{"messages":[{"role":"user""#));
}

#[test]
fn texts_are_changed_where_they_are() {
    let body =
        r#"{"messages":[{"role":"user","content":[{"text":"one"},{"image":{}},{"cachePoint":{}},{"text":"two"}]}]}"#;
    let change = with(|change| {
        change.texts = vec![
            (at(0, 0), TextEdit::Replace("1".to_owned())),
            (at(0, 0), TextEdit::Before("0".to_owned())),
            (at(0, 3), TextEdit::Remove),
            (at(0, 3), TextEdit::After("3".to_owned())),
        ];
    });
    let expected = r#"{"messages":[{"role":"user","content":[{"text":"0"},{"text":"1"},{"image":{}},{"cachePoint":{}},{"text":"3"}]}]}"#;
    assert_eq!(rewritten(body, &change), expected);
    let body = r#"{"messages":[{"role":"user","content":[{"text":"one"},{"cachePoint":{}},{"text":"two"}]}]}"#;
    let change = with(|change| change.texts = vec![(at(0, 0), TextEdit::Remove)]);
    assert_eq!(rewritten(body, &change), r#"{"messages":[{"role":"user","content":[{"text":"two"}]}]}"#);
}

#[test]
fn the_oldest_go_and_no_result_of_a_tool_is_left_without_its_call() {
    let turn = |role: &str, content: &str| format!(r#"{{"role":"{role}","content":[{content}]}}"#);
    let turns = [
        turn("user", r#"{"text":"0"}"#),
        turn("assistant", r#"{"toolUse":{"toolUseId":"1"}}"#),
        turn("user", r#"{"toolResult":{"toolUseId":"1"}}"#),
        turn("assistant", r#"{"text":"3"}"#),
        turn("user", r#"{"text":"4"}"#),
        turn("assistant", r#"{"text":"5"}"#),
        turn("user", r#"{"text":"6"}"#),
    ];
    let body = |turns: &[String]| format!(r#"{{"messages":[{}]}}"#, turns.join(","));
    for (least, from) in [(1, 6), (2, 4), (3, 4), (4, 0), (7, 0), (100, 0)] {
        let change = with(|change| {
            change.keep_last = Some(least);
            // Of a message that goes, this goes along; of one that stays it is by the old index.
            change.texts =
                vec![(at(0, 0), TextEdit::Before("x".to_owned())), (at(6, 0), TextEdit::Replace("six".to_owned()))];
        });
        let kept = rewritten(&body(&turns), &change);
        let mut expected = turns[from..].to_vec();
        let last = expected.len() - 1;
        expected[last] = turn("user", r#"{"text":"six"}"#);
        if from == 0 {
            expected[0] = turn("user", r#"{"text":"x"},{"text":"0"}"#);
        }
        assert_eq!(kept, body(&expected), "{least}");
    }
}

#[test]
fn parameters() {
    let body = r#"{"inferenceConfig":{"maxTokens":9,"stopSequences":["a"],"new":1.0},"messages":[]}"#;
    let change = with(|change| {
        change.max_tokens = Edit::Default(5);
        change.top_p = Edit::Default(0.25);
        change.stop = Edit::Unset;
    });
    assert_eq!(rewritten(body, &change), r#"{"inferenceConfig":{"topP":0.25,"maxTokens":9,"new":1.0},"messages":[]}"#);
    let change = with(|change| {
        change.max_tokens = Edit::Set(5);
        change.stop = Edit::Set(vec!["b\"".to_owned()]);
        change.temperature = Edit::Unset;
    });
    let expected = r#"{"inferenceConfig":{"maxTokens":5,"stopSequences":["b\""],"new":1.0},"messages":[]}"#;
    assert_eq!(rewritten(body, &change), expected);
    assert_eq!(
        rewritten(r#"{"inferenceConfig":null}"#, &with(|change| change.max_tokens = Edit::Default(5))),
        r#"{"inferenceConfig":{"maxTokens":5}}"#
    );
}

#[test]
fn variables_are_taken_out() {
    let taken = |body: &str| {
        let (body, variables) = without_prompt_variables(body.as_bytes()).unwrap();
        (String::from_utf8(body.to_vec()).unwrap(), variables)
    };
    let body = r#"{"messages":[],"prompt\u0056ariables":{"a":{"text":"b"}},"x":1.0}"#;
    assert_eq!(taken(body), (r#"{"messages":[],"x":1.0}"#.to_owned(), Some(r#"{"a":{"text":"b"}}"#.to_owned())));
    assert_eq!(taken(r#"{"promptVariables":null}"#), ("{}".to_owned(), None));
    assert!(without_prompt_variables(b"[]").is_err());
}
