//! Texts to embed, put as each family's models take them, and vectors out of what they answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Body;
use crate::invalid::Invalid;
use crate::openai::embeddings::{InputType, Wanted};

/// Texts that Cohere's models take at once.
const COHERE_TEXTS: usize = 96;

/// How many texts one call of such a model takes; none where texts are not put so.
pub fn texts_a_call(body: Body) -> Option<usize> {
    match body {
        Body::TitanEmbed | Body::TitanImageEmbed | Body::NovaEmbed => Some(1),
        Body::CohereEmbed => Some(COHERE_TEXTS),
        Body::Marengo | Body::Rerank | Body::Canvas | Body::Stability => None,
    }
}

/// The body of a call for these texts, no more than one takes.
pub fn call(body: Body, texts: &[Cow<'_, str>], wanted: Wanted) -> Result<Vec<u8>, Invalid> {
    let first = texts.first().map_or("", |text| &**text);
    let mut value = match body {
        Body::TitanEmbed | Body::TitanImageEmbed => {
            if wanted.input_type.is_some() {
                return Err(Invalid::unsupported(
                    "input_type",
                    "Titan's models do not tell apart what vectors are for",
                ));
            }
            json!({"inputText": first})
        }
        Body::NovaEmbed => json!({
            "schemaVersion": "nova-multimodal-embed-v1",
            "taskType": "SINGLE_EMBEDDING",
            "singleEmbeddingParams": {
                "embeddingPurpose": purpose(wanted.input_type),
                // As OpenAI: what is too long is refused.
                "text": {"truncationMode": "NONE", "value": first},
            },
        }),
        _ => json!({"input_type": input_type(wanted.input_type), "texts": texts, "embedding_types": ["float"]}),
    };
    if let Some(dimensions) = wanted.dimensions {
        match body {
            Body::TitanImageEmbed => value["embeddingConfig"] = json!({"outputEmbeddingLength": dimensions}),
            Body::NovaEmbed => value["singleEmbeddingParams"]["embeddingDimension"] = dimensions.into(),
            Body::CohereEmbed => value["output_dimension"] = dimensions.into(),
            _ => value["dimensions"] = dimensions.into(),
        }
    }
    Ok(value.to_string().into_bytes())
}

/// Cohere's models need one. Most of what is embedded is to be found.
fn input_type(wanted: Option<InputType>) -> &'static str {
    match wanted {
        None | Some(InputType::SearchDocument) => "search_document",
        Some(InputType::SearchQuery) => "search_query",
        Some(InputType::Classification) => "classification",
        Some(InputType::Clustering) => "clustering",
    }
}

fn purpose(wanted: Option<InputType>) -> &'static str {
    match wanted {
        None | Some(InputType::SearchDocument) => "GENERIC_INDEX",
        Some(InputType::SearchQuery) => "GENERIC_RETRIEVAL",
        Some(InputType::Classification) => "CLASSIFICATION",
        Some(InputType::Clustering) => "CLUSTERING",
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    embedding: Option<&'a RawValue>,
    #[serde(borrow)]
    embeddings: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ByType<'a> {
    #[serde(borrow)]
    float: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct OfNova<'a> {
    #[serde(borrow)]
    embedding: &'a RawValue,
}

/// The vectors of an answer, one for each of so many texts.
pub fn vectors(body: Body, answer: &[u8], texts: usize) -> Result<Vec<&RawValue>, Invalid> {
    let parsed: Answer<'_> = Invalid::parse(answer)?;
    let missing = || Invalid::value("embeddings", "the answer has none");
    let list = parsed.embeddings.map(|list| list.get().as_bytes());
    let vectors = match body {
        Body::TitanEmbed | Body::TitanImageEmbed => vec![parsed.embedding.ok_or_else(missing)?],
        Body::NovaEmbed => {
            let list: Vec<OfNova<'_>> = Invalid::parse(list.ok_or_else(missing)?)?;
            list.into_iter().map(|one| one.embedding).collect()
        }
        _ => Invalid::parse::<ByType<'_>>(list.ok_or_else(missing)?)?.float,
    };
    if vectors.len() != texts {
        return Err(Invalid::value("embeddings", format!("the answer has {} for {texts} texts", vectors.len())));
    }
    Ok(vectors)
}

/// Of how many numbers each vector is, at most, where a model gives these and this many are wanted.
pub fn gives(model: &str, dimensions: &[u32], wanted: Option<u32>) -> Result<u32, Invalid> {
    let Some(longest) = dimensions.iter().copied().max() else {
        return Err(Invalid::unsupported("model", format!("how long the vectors of {model} are is not known")));
    };
    if wanted.is_none_or(|wanted| dimensions.contains(&wanted)) {
        return Ok(wanted.unwrap_or(longest));
    }
    let known: Vec<_> = dimensions.iter().map(u32::to_string).collect();
    Err(Invalid::value("dimensions", format!("{model} gives vectors of {} numbers", known.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { dimensions: None, input_type: None, base64: false };

    #[test]
    fn each_family_is_asked_in_its_own_words() {
        let wanted = Wanted { dimensions: Some(256), input_type: Some(InputType::SearchQuery), ..WANTED };
        let texts = [Cow::from("a"), Cow::from("b")];
        let told = [
            (Body::TitanEmbed, Wanted { input_type: None, ..wanted }),
            (Body::TitanImageEmbed, Wanted { input_type: None, ..wanted }),
            (Body::NovaEmbed, wanted),
            (Body::CohereEmbed, wanted),
            (Body::CohereEmbed, WANTED),
        ]
        .map(|(body, wanted)| String::from_utf8(call(body, &texts, wanted).unwrap()).unwrap());
        insta::assert_snapshot!(told.join("\n"), @r#"
        {"inputText":"a","dimensions":256}
        {"inputText":"a","embeddingConfig":{"outputEmbeddingLength":256}}
        {"schemaVersion":"nova-multimodal-embed-v1","taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"embeddingPurpose":"GENERIC_RETRIEVAL","text":{"truncationMode":"NONE","value":"a"},"embeddingDimension":256}}
        {"input_type":"search_query","texts":["a","b"],"embedding_types":["float"],"output_dimension":256}
        {"input_type":"search_document","texts":["a","b"],"embedding_types":["float"]}
        "#);
        // What is asked for is what is read of it.
        let outline = super::super::outline(Body::CohereEmbed, told[3].as_bytes()).unwrap();
        assert_eq!((outline.text_bytes, outline.turns), (2, 2));
        assert!(call(Body::TitanEmbed, &texts, wanted).is_err());
    }

    #[test]
    fn there_is_a_vector_for_each_text_or_none_at_all() {
        let read = |body, answer: &'static str, texts| {
            let vectors = vectors(body, answer.as_bytes(), texts);
            vectors.map(|vectors| vectors.iter().map(|vector| vector.get()).collect::<Vec<_>>())
        };
        assert_eq!(read(Body::TitanEmbed, r#"{"embedding":[1],"inputTextTokenCount":1}"#, 1).unwrap(), ["[1]"]);
        assert_eq!(
            read(Body::NovaEmbed, r#"{"embeddings":[{"embeddingType":"TEXT","embedding":[2]}]}"#, 1).unwrap(),
            ["[2]"]
        );
        let cohere = r#"{"embeddings":{"float":[[1],[2]]},"texts":["a","b"]}"#;
        assert_eq!(read(Body::CohereEmbed, cohere, 2).unwrap(), ["[1]", "[2]"]);
        assert!(read(Body::CohereEmbed, cohere, 3).is_err() && read(Body::TitanEmbed, "{}", 1).is_err());
        let given = |wanted| gives("m", &[256, 512], wanted).map_err(|invalid| invalid.text());
        assert_eq!([None, Some(256), Some(512)].map(given), [Ok(512), Ok(256), Ok(512)]);
        assert_eq!(given(Some(300)), Err("dimensions: m gives vectors of 256, 512 numbers".to_owned()));
        assert!(gives("m", &[], None).is_err());
    }
}
