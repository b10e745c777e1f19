//! Values that satisfy a JSON schema, for tool arguments and structured replies.
//!
//! It understands what schemas of tools use: types, properties, required, enum, const, items, the
//! combinators, local references, lengths, ranges and common formats; not patterns. It must not know
//! who asked.

use serde_json::{Map, Number, Value, json};

use super::Draw;
use crate::conversation::canonical_json;

/// How deep a value goes; below, only what is required is filled in.
const DEEPEST: usize = 8;
/// How many values one schema is worth.
const MOST_VALUES: usize = 512;
/// How long a string or list gets to satisfy a minimum.
const LONGEST: usize = 1_000;

/// Arguments of a tool: an object, whatever its schema says.
pub(super) fn arguments(schema: &Value, topics: &[String], draw: &mut Draw) -> String {
    let mut maker = Maker { root: schema, topics, draw, left: MOST_VALUES };
    match maker.value(schema, "", 0) {
        object @ Value::Object(_) => canonical_json(&object),
        _ => "{}".into(),
    }
}

/// A reply that satisfies a schema.
pub(super) fn instance(schema: &Value, topics: &[String], draw: &mut Draw) -> String {
    let mut maker = Maker { root: schema, topics, draw, left: MOST_VALUES };
    canonical_json(&maker.value(schema, "", 0))
}

struct Maker<'a> {
    root: &'a Value,
    topics: &'a [String],
    draw: &'a mut Draw,
    left: usize,
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        if self.left == 0 || depth > DEEPEST * 4 {
            return Value::Null;
        }
        self.left -= 1;
        let schema = self.resolve(schema);
        let Value::Object(fields) = &schema else {
            return json!({});
        };
        if let Some(fixed) = fields.get("const") {
            return fixed.clone();
        }
        for choices in ["enum", "examples"] {
            if let Some(Value::Array(all)) = fields.get(choices).filter(|v| has_items(v)) {
                return all[self.draw.below(all.len())].clone();
            }
        }
        match kind(fields) {
            "object" => self.object(fields, depth),
            "array" => self.array(fields, name, depth),
            "string" => Value::String(self.string(fields, name)),
            "integer" => self.number(fields, true),
            "number" => self.number(fields, false),
            "boolean" => Value::Bool(self.draw.below(2) == 1),
            _ => Value::Null,
        }
    }

    /// Follows references and combinators to a schema that stands for itself.
    fn resolve(&self, schema: &Value) -> Value {
        let mut schema = schema.clone();
        // A reference that leads round in circles is given up.
        for _ in 0..DEEPEST {
            let Value::Object(fields) = &mut schema else {
                break;
            };
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let target = reference.strip_prefix('#').and_then(|path| self.root.pointer(path));
                schema = target.cloned().unwrap_or(Value::Null);
                continue;
            }
            if let Some(Value::Array(all)) = fields.remove("allOf") {
                for part in all {
                    merge(fields, self.resolve(&part));
                }
                continue;
            }
            let either = fields.remove("anyOf").or_else(|| fields.remove("oneOf"));
            let Some(Value::Array(all)) = either else {
                break;
            };
            let not_null = |option: &&Value| option.get("type") != Some(&json!("null"));
            if let Some(option) = all.iter().find(not_null).or(all.first()) {
                merge(fields, option.clone());
            }
        }
        schema
    }

    fn object(&mut self, fields: &Map<String, Value>, depth: usize) -> Value {
        let required: Vec<&str> = match fields.get("required") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut out = Map::new();
        if let Some(Value::Object(properties)) = fields.get("properties") {
            // In order of name: the order of keys on the wire means nothing.
            let mut properties: Vec<_> = properties.iter().collect();
            properties.sort_unstable_by_key(|(name, _)| name.as_str());
            for (name, schema) in properties {
                if depth < DEEPEST || required.contains(&name.as_str()) {
                    out.insert(name.clone(), self.value(schema, name, depth + 1));
                }
            }
        }
        for name in required {
            if !out.contains_key(name) {
                out.insert(name.to_owned(), json!(self.word(name)));
            }
        }
        Value::Object(out)
    }

    fn array(&mut self, fields: &Map<String, Value>, name: &str, depth: usize) -> Value {
        let least = size(fields, "minItems").unwrap_or(0).min(LONGEST);
        let most = size(fields, "maxItems").unwrap_or(LONGEST);
        let wanted = if depth < DEEPEST { least.max(1) } else { least };
        let any = json!({"type": "string"});
        let schema = fields.get("items").unwrap_or(&any);
        (0..wanted.min(most)).map(|_| self.value(schema, name, depth + 1)).collect()
    }

    fn string(&mut self, fields: &Map<String, Value>, name: &str) -> String {
        let day = 1 + self.draw.below(28);
        let text = match fields.get("format").and_then(Value::as_str) {
            Some("date") => format!("2026-01-{day:02}"),
            Some("date-time") => format!("2026-01-{day:02}T12:00:00Z"),
            Some("time") => "12:00:00Z".into(),
            Some("email") => "simulated@example.com".into(),
            Some("uri" | "url") => "https://example.com/simulated".into(),
            Some("hostname") => "example.com".into(),
            Some("ipv4") => "192.0.2.1".into(),
            Some("ipv6") => "2001:db8::1".into(),
            Some("uuid") => "00000000-0000-4000-8000-000000000000".into(),
            _ => self.word(name),
        };
        let least = size(fields, "minLength").unwrap_or(0).min(LONGEST);
        let most = size(fields, "maxLength").unwrap_or(usize::MAX);
        let length = text.chars().count();
        text.chars().chain(std::iter::repeat_n('x', least.saturating_sub(length))).take(most).collect()
    }

    /// A word of the conversation, so that arguments have something to do with it.
    fn word(&mut self, name: &str) -> String {
        match self.topics.len() {
            0 if name.is_empty() => "simulated".into(),
            0 => format!("simulated {name}"),
            n => self.topics[self.draw.below(n)].clone(),
        }
    }

    fn number(&mut self, fields: &Map<String, Value>, whole: bool) -> Value {
        let bound = |name: &str| fields.get(name).and_then(Value::as_f64);
        let step = bound("multipleOf").filter(|step| *step > 0.0).unwrap_or(1.0);
        let step = if whole { step.ceil() } else { step };
        let least = bound("minimum").or(bound("exclusiveMinimum").map(|b| b + step));
        let most = bound("maximum").or(bound("exclusiveMaximum").map(|b| b - step));
        let drawn = step * f64::from(u8::try_from(1 + self.draw.below(9)).unwrap_or(1));
        let mut n = least.map_or(drawn, |least| (least / step).ceil() * step);
        if let Some(most) = most.filter(|most| n > *most) {
            n = (most / step).floor() * step;
            // A narrow range may hold no multiple: its edge then, rather than nothing.
            if least.is_some_and(|least| n < least) {
                n = least.unwrap_or(most);
            }
        }
        if whole || n.fract() == 0.0 { integer(n) } else { Number::from_f64(n).map_or(json!(0), Value::Number) }
    }
}

#[allow(clippy::cast_possible_truncation)]
fn integer(n: f64) -> Value {
    // Saturates, which is near enough for bounds beyond 64 bits.
    json!(n as i64)
}

fn has_items(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty())
}

fn size(fields: &Map<String, Value>, name: &str) -> Option<usize> {
    fields.get(name).and_then(Value::as_u64).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// The type, said or implied.
fn kind(fields: &Map<String, Value>) -> &str {
    let said = match fields.get("type") {
        Some(Value::String(kind)) => Some(kind.as_str()),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|k| *k != "null"),
        _ => None,
    };
    said.unwrap_or_else(|| {
        if fields.contains_key("properties") || fields.contains_key("required") {
            "object"
        } else if fields.contains_key("items") {
            "array"
        } else if fields.contains_key("minimum") || fields.contains_key("maximum") {
            "number"
        } else if fields.contains_key("minLength") || fields.contains_key("format") {
            "string"
        } else {
            "object"
        }
    })
}

/// Adds the constraints of one schema to another's.
fn merge(into: &mut Map<String, Value>, other: Value) {
    let Value::Object(other) = other else { return };
    for (key, value) in other {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(own)), Value::Object(more)) => own.extend(more),
            (Some(Value::Array(own)), Value::Array(more)) if key == "required" => own.extend(more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(schema: &Value) -> Value {
        let topics = ["Oslo".to_owned()];
        let mut draw = Draw::new(&[7; 32]);
        serde_json::from_str(&instance(schema, &topics, &mut draw)).unwrap()
    }

    #[test]
    fn values_of_each_type() {
        for (schema, expected) in [
            (json!({"type": "string"}), json!("Oslo")),
            (json!({"type": "string", "minLength": 6}), json!("Osloxx")),
            (json!({"type": "string", "maxLength": 2}), json!("Os")),
            (json!({"type": "string", "format": "uuid"}), json!("00000000-0000-4000-8000-000000000000")),
            (json!({"type": ["null", "string"]}), json!("Oslo")),
            (json!({"const": 5}), json!(5)),
            (json!({"enum": ["only"]}), json!("only")),
            (json!({"type": "integer", "minimum": 4, "maximum": 4}), json!(4)),
            (json!({"type": "integer", "exclusiveMinimum": 4, "maximum": 5}), json!(5)),
            (json!({"type": "integer", "minimum": 7, "multipleOf": 5}), json!(10)),
            (json!({"type": "number", "minimum": 0.25, "maximum": 0.5}), json!(0.25)),
            (json!({"type": "integer", "maximum": -3}), json!(-3)),
            (json!({"type": "null"}), json!(null)),
            (json!({"type": "array", "items": {"const": 1}, "minItems": 2}), json!([1, 1])),
            (json!({"type": "array", "items": {"const": 1}, "maxItems": 0}), json!([])),
            (json!({"anyOf": [{"type": "null"}, {"const": "x"}]}), json!("x")),
            (
                json!({"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"a": {"const": 1}}}]}),
                json!({"a": 1}),
            ),
            (json!({"$ref": "#/$defs/T", "$defs": {"T": {"const": "t"}}}), json!("t")),
            (json!({"type": "object", "required": ["city"]}), json!({"city": "Oslo"})),
            (json!(true), json!({})),
        ] {
            assert_eq!(made(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn schemas_without_end_come_to_one() {
        let circle = json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}});
        made(&circle);
        let tree = json!({
            "type": "object",
            "required": ["next"],
            "properties": {"next": {"$ref": "#"}, "more": {"$ref": "#"}},
        });
        made(&tree);
        made(&json!({"type": "array", "minItems": 4_000_000_000u64, "items": {"type": "integer"}}));
    }

    #[test]
    fn arguments_are_objects() {
        let mut draw = Draw::new(&[1; 32]);
        assert_eq!(arguments(&json!({"type": "string"}), &[], &mut draw), "{}");
        assert_eq!(arguments(&json!({}), &[], &mut draw), "{}");
    }
}
