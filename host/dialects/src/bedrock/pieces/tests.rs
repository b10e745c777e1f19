//! What is read of requests, and what answers say that they consumed.

use super::*;

fn read(body: Body, request: &str) -> Outline {
    outline(body, request.as_bytes()).unwrap()
}

fn units(list: &[(Unit, u32)]) -> Units {
    list.iter().fold(Units::default(), |units, (unit, count)| units.plus(Units::of(*unit, *count)))
}

#[test]
fn what_a_request_has_at_least_and_at_most() {
    let documents =
        |count: usize, text: &str| serde_json::json!({"query": "which?", "documents": vec![text; count]}).to_string();
    let long = "word ".repeat(300);
    type Counts = &'static [(Unit, u32)];
    let cases: Vec<(Body, String, Counts, Counts, u64)> = vec![
        (Body::TitanEmbed, r#"{"inputText":"hello"}"#.into(), &[], &[], 5),
        (Body::TitanImageEmbed, r#"{"inputText":"hi","inputImage":"AAAA"}"#.into(), &[(Unit::Image, 1)], &[(Unit::Image, 1)], 2),
        (
            Body::NovaEmbed,
            r#"{"taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"text":{"truncationMode":"END","value":"hey"}}}"#.into(),
            &[],
            &[],
            3,
        ),
        (
            Body::NovaEmbed,
            r#"{"taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"video":{"format":"mp4"}}}"#.into(),
            &[],
            &[(Unit::AudioSecond, 30), (Unit::VideoSecond, 30)],
            0,
        ),
        (Body::CohereEmbed, r#"{"input_type":"search_query","texts":["one","two"]}"#.into(), &[], &[], 6),
        (
            Body::CohereEmbed,
            r#"{"inputs":[{"content":[{"type":"text","text":"one"},{"type":"image_url","image_url":"data:x"}]}],"images":["data:y"]}"#.into(),
            &[(Unit::Image, 2)],
            &[(Unit::Image, 2)],
            3,
        ),
        (Body::Marengo, r#"{"inputType":"text","inputText":"fish"}"#.into(), &[(Unit::Query, 1)], &[(Unit::Query, 1)], 4),
        (
            Body::Marengo,
            r#"{"inputType":"text_image","text_image":{"inputText":"fish","mediaSource":{"base64String":"AA"}}}"#.into(),
            &[(Unit::Image, 1)],
            &[(Unit::Image, 1), (Unit::Query, 1)],
            4,
        ),
        (Body::Rerank, documents(100, "short"), &[(Unit::Query, 1)], &[(Unit::Query, 1)], 506),
        (Body::Rerank, documents(101, "short"), &[(Unit::Query, 2)], &[(Unit::Query, 2)], 511),
        // 1,500 bytes are three pieces of 503 tokens, or one; beside a query that fills a piece, one a token.
        (Body::Rerank, documents(100, &long), &[(Unit::Query, 1)], &[(Unit::Query, 3)], 150_006),
        (
            Body::Rerank,
            serde_json::json!({"query": "q".repeat(600), "documents": ["x".repeat(300)]}).to_string(),
            &[(Unit::Query, 1)],
            &[(Unit::Query, 3)],
            900,
        ),
        (
            Body::Canvas,
            r#"{"taskType":"TEXT_IMAGE","textToImageParams":{"text":"a fish"},"imageGenerationConfig":{"numberOfImages":3,"width":1024}}"#.into(),
            &[(Unit::ImageMade, 3)],
            &[(Unit::ImageMade, 3)],
            6,
        ),
        (Body::Stability, r#"{"prompt":"a fish","mode":"text-to-image"}"#.into(), &[(Unit::ImageMade, 1)], &[(Unit::ImageMade, 1)], 6),
    ];
    for (body, request, least, most, bytes) in cases {
        let outline = read(body, &request);
        let is_image_by_token = body == Body::CohereEmbed && outline.images > 0;
        assert_eq!(outline.unbounded_input, is_image_by_token, "{body:?} {request:.200}");
        let found = (outline.least_units, outline.units, outline.text_bytes);
        assert_eq!(found, (units(least), units(most), bytes), "{body:?} {request:.200}");
        assert!(outline.texts_only && !outline.needs.is_empty() && outline.max_output_tokens == Some(0));
    }
}

#[test]
fn what_cannot_be_priced_is_refused_by_name() {
    let told = [
        (Body::NovaEmbed, r#"{"taskType":"SEGMENTED_EMBEDDING"}"#),
        (
            Body::NovaEmbed,
            r#"{"taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"image":{"detailLevel":"DOCUMENT_IMAGE"}}}"#,
        ),
        (
            Body::NovaEmbed,
            r#"{"taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"text":{"source":{"s3Location":{}}}}}"#,
        ),
        (Body::Marengo, r#"{"inputType":"video"}"#),
        (Body::CohereEmbed, r#"{"texts":"one"}"#),
        (Body::CohereEmbed, r#"{"inputs":[{"content":"one"}]}"#),
        (Body::CohereEmbed, r#"{"inputs":["one"]}"#),
        (Body::CohereEmbed, r#"{"inputs":[{"content":[{"type":"text","text":["one"]}]}]}"#),
        (Body::CohereEmbed, r#"{"inputs":[{"content":[{"type":"sound"}]}]}"#),
        (Body::Canvas, r#"{"taskType":"BACKGROUND_REMOVAL","backgroundRemovalParams":{"image":"AA"}}"#),
        (Body::Canvas, r#"{"imageGenerationConfig":{"width":2048}}"#),
        (Body::Canvas, r#"{"imageGenerationConfig":{"numberOfImages":9}}"#),
        (Body::Rerank, r#"{"documents":[]}"#),
        (Body::Rerank, r#"{"query":"q","documents":[],"max_tokens_per_doc":"all"}"#),
        (Body::TitanEmbed, r#"{"inputText":"a","inputText":"b"}"#),
        (Body::TitanEmbed, "[]"),
    ]
    .map(|(body, request)| outline(body, request.as_bytes()).unwrap_err().text());
    insta::assert_snapshot!(told.join("\n"), @r#"
    taskType: InvokeModel takes SINGLE_EMBEDDING; what is segmented is for StartAsyncInvoke
    singleEmbeddingParams.image.detailLevel: only the price of a STANDARD_IMAGE is known
    singleEmbeddingParams.text.source: how long a text in S3 is, is not known before it is paid for; send it as `value`
    inputType: InvokeModel takes "text", "image" and "text_image" at a known price; sound and video are for StartAsyncInvoke
    texts: a list is needed
    inputs.content: a list is needed
    inputs.content: a list is needed
    inputs.content.text: a string is needed
    inputs.content.type: a part of an input is of the type "text" or "image_url"
    taskType: BACKGROUND_REMOVAL makes an image as large as the one that it is given, so that its price is not known
    imageGenerationConfig.width: larger images than 1024 x 1024 pixels have no known price
    imageGenerationConfig.numberOfImages: there are at most 5 at once
    query: it is missing
    max_tokens_per_doc: a whole number that is not negative is needed
    a field is named twice at line 1 column 33
    the body is not a JSON object
    "#);
}

#[test]
fn what_an_answer_says_was_consumed() {
    let none = Counts::default();
    let header = Counts { input: Some(7), ..none };
    let of = |body, request: &str, counts, answer: &str| {
        let served = served(body, &read(body, request), counts, answer.as_bytes());
        served.usage.map(|usage| (usage.input, usage.units, served.at_least.map(|least| least.units)))
    };
    let text = r#"{"inputText":"hello"}"#;
    let tokens = |count| Some((count, Units::default(), None));
    assert_eq!(of(Body::TitanEmbed, text, none, r#"{"embedding":[0.1],"inputTextTokenCount":3}"#), tokens(3));
    assert_eq!(of(Body::TitanEmbed, text, header, r#"{"embedding":[0.1]}"#), tokens(7));
    assert_eq!(of(Body::TitanEmbed, text, none, "{}"), None);
    let image = units(&[(Unit::Image, 1)]);
    assert_eq!(of(Body::TitanImageEmbed, r#"{"inputImage":"AA"}"#, header, "{}"), Some((0, image, None)));
    assert_eq!(of(Body::CohereEmbed, r#"{"texts":["a"]}"#, header, r#"{"embeddings":[[0.1]]}"#), tokens(7));
    assert_eq!(of(Body::CohereEmbed, r#"{"texts":["a"]}"#, none, r#"{"embeddings":[[0.1]]}"#), None);
    let long = serde_json::json!({"query": "q", "documents": vec!["x".repeat(9_000); 20]}).to_string();
    // 4,096 tokens of each are looked at, in nine pieces at most.
    let (one, two) = (Units::of(Unit::Query, 1), Units::of(Unit::Query, 2));
    assert_eq!(of(Body::Rerank, &long, none, r#"{"results":[]}"#), Some((0, two, Some(one))));
    let more = long.replacen('{', r#"{"max_tokens_per_doc":9000,"#, 1);
    let four = Units::of(Unit::Query, 4);
    assert_eq!(of(Body::Rerank, &more, none, r#"{"results":[]}"#), Some((0, four, Some(one))));
    let three = r#"{"imageGenerationConfig":{"numberOfImages":3}}"#;
    let made = |count| Units::of(Unit::ImageMade, count);
    let images = |answer: &str| of(Body::Canvas, three, none, answer);
    assert_eq!(images(r#"{"images":["a","b","c"]}"#), Some((0, made(3), None)));
    // Fewer came, and nothing says why: those are all.
    assert_eq!(images(r#"{"images":["a"]}"#), Some((0, made(1), None)));
    assert_eq!(images(r#"{"images":["a"],"error":"filtered"}"#), Some((0, made(3), Some(made(1)))));
    assert_eq!(images(r#"{"error":"filtered"}"#), None);
    let one_is_empty = r#"{"images":["a","","c"],"error":"filtered"}"#;
    assert_eq!(images(one_is_empty), Some((0, made(3), Some(made(2)))));
    for filtered in ["[]", r#"[""]"#, "[null]"] {
        let answer = format!(r#"{{"images":{filtered},"finish_reasons":["Filter reason: prompt"],"seeds":[]}}"#);
        assert_eq!(of(Body::Stability, "{}", none, &answer), Some((0, made(1), Some(made(0)))), "{filtered}");
    }
}
