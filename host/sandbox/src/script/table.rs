//! The one table of what scripts may call: whatever is registered goes through it, with its signature,
//! what it does and the capability that it needs. `policies/REFERENCE.md` is printed from it.

use std::fmt::Write as _;

use rhai::{Dynamic, Engine, EvalAltResult, RhaiNativeFunc};

use crate::capability::{Capability, Grants};

pub(super) type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// What a script can be given: all that Rhai's values can hold.
pub(super) trait Value: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> Value for T {}

/// What an author reads of a function or property.
struct Entry {
    signature: String,
    doc: &'static str,
    capability: Option<Capability>,
}

/// A part of the table, with a heading and a word of introduction.
struct Section {
    title: &'static str,
    about: &'static str,
    entries: Vec<Entry>,
}

/// Registers what scripts may call, and keeps what is said of it. A signature begins with the name.
pub(super) struct Api<'a> {
    engine: &'a mut Engine,
    grants: &'a Grants,
    sections: Vec<Section>,
    /// What properties and methods are written after.
    of: &'static str,
}

impl<'a> Api<'a> {
    pub(super) fn new(engine: &'a mut Engine, grants: &'a Grants) -> Self {
        Self { engine, grants, sections: Vec::new(), of: "" }
    }

    /// What follows belongs here, and to no type.
    pub(super) fn section(&mut self, title: &'static str, about: &'static str) -> &mut Self {
        self.sections.push(Section { title, about, entries: Vec::new() });
        self.of = "";
        self
    }

    /// What follows belongs to a value of this type, which is called `value` in signatures.
    pub(super) fn of<T: Value>(&mut self, kind: &'static str, value: &'static str) -> &mut Self {
        self.engine.register_type_with_name::<T>(kind);
        self.of = value;
        self
    }

    fn say(&mut self, signature: &str, doc: &'static str, capability: Option<Capability>) -> &mut Self {
        let dot = if self.of.is_empty() || signature.starts_with('[') { "" } else { "." };
        let signature = format!("{}{dot}{signature}", self.of);
        if let Some(section) = self.sections.last_mut() {
            section.entries.push(Entry { signature, doc, capability });
        }
        self
    }

    /// A function, or a method: Rhai makes no difference.
    pub(super) fn function<A: 'static, const N: usize, const X: bool, R: Value, const F: bool>(
        &mut self,
        signature: &'static str,
        doc: &'static str,
        function: impl RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
    ) -> &mut Self {
        self.engine.register_fn(name(signature), function);
        self.say(signature, doc, None)
    }

    /// The same function, or operator, for other types.
    pub(super) fn also<A: 'static, const N: usize, const X: bool, R: Value, const F: bool>(
        &mut self,
        name: &'static str,
        function: impl RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
    ) -> &mut Self {
        let mut said = self.sections.iter().flat_map(|section| &section.entries);
        debug_assert!(said.any(|entry| entry.signature.contains(name)), "{name} is not in the table");
        self.engine.register_fn(name, function);
        self
    }

    /// An operator between columns and numbers; [`Api::also`] registers its functions.
    pub(super) fn operator(&mut self, signature: &'static str, doc: &'static str) -> &mut Self {
        self.say(signature, doc, None)
    }

    /// A function that needs a capability. Where that is not granted, a call says how to grant it.
    pub(super) fn granted<A: 'static, const N: usize, const X: bool, R: Value, const F: bool>(
        &mut self,
        capability: Capability,
        signature: &'static str,
        doc: &'static str,
        function: impl RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
    ) -> &mut Self {
        let name = name(signature);
        if self.grants.has(capability) {
            self.engine.register_fn(name, function);
        } else {
            let denial = self.denial(name, capability);
            let denied = move || -> Fallible<Dynamic> { Err(denial.as_str().into()) };
            match N {
                1 => self.engine.register_fn(name, move |_: Dynamic| denied()),
                _ => self.engine.register_fn(name, move |_: Dynamic, _: Dynamic| denied()),
            };
        }
        self.say(signature, doc, Some(capability))
    }

    /// A property that is read.
    pub(super) fn property<T: Value, V: Value>(
        &mut self,
        signature: &'static str,
        doc: &'static str,
        get: impl Fn(&mut T) -> V + Send + Sync + 'static,
    ) -> &mut Self {
        self.engine.register_get(name(signature), get);
        self.say(signature, doc, None)
    }

    /// A property that needs a capability.
    pub(super) fn granted_property<T: Value, V: Value>(
        &mut self,
        capability: Capability,
        signature: &'static str,
        doc: &'static str,
        get: impl Fn(&mut T) -> V + Send + Sync + 'static,
    ) -> &mut Self {
        let name = name(signature);
        if self.grants.has(capability) {
            self.engine.register_get(name, get);
        } else {
            let denial = self.denial(&format!("{}.{name}", self.of), capability);
            self.engine.register_get(name, move |_: &mut T| -> Fallible<Dynamic> { Err(denial.as_str().into()) });
        }
        self.say(signature, doc, Some(capability))
    }

    /// A property that is set.
    pub(super) fn setter<T: Value, V: Value>(
        &mut self,
        signature: &'static str,
        doc: &'static str,
        set: impl Fn(&mut T, V) -> Fallible<()> + Send + Sync + 'static,
    ) -> &mut Self {
        self.engine.register_set(name(signature), set);
        self.say(signature, doc, None)
    }

    /// A number of models: of all of them, and of one.
    pub(super) fn number<M: Value, C: Value, T: Value, V: Value>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        of_all: impl Fn(&mut M) -> C + Send + Sync + 'static,
        of_one: impl Fn(&mut T) -> V + Send + Sync + 'static,
    ) -> &mut Self {
        self.engine.register_get(name, of_all).register_get(name, of_one);
        self.say(name, doc, None)
    }

    /// What is behind `[i]`.
    pub(super) fn index<T: Value, V: Value>(
        &mut self,
        signature: &'static str,
        doc: &'static str,
        get: impl Fn(&mut T, i64) -> Fallible<V> + Send + Sync + 'static,
    ) -> &mut Self {
        self.engine.register_indexer_get(get);
        self.say(signature, doc, None)
    }

    /// What a script is told that uses what is not granted.
    fn denial(&self, what: &str, capability: Capability) -> String {
        let (why_not, hint) = (self.grants.why_not(capability), self.grants.hint(capability));
        format!("{what} needs the capability `{capability}`, which {why_not}; {hint}")
    }

    /// The table as a page.
    pub(super) fn page(&self) -> String {
        let mut page = String::from(HEAD);
        for section in &self.sections {
            let _ = write!(page, "\n## {}\n\n{}\n\n| | |\n|---|---|\n", section.title, section.about);
            for entry in &section.entries {
                let needs = entry.capability.map_or(String::new(), |needed| format!(" Capability `{needed}`."));
                let _ = writeln!(page, "| `{}` | {}{needs} |", entry.signature, entry.doc);
            }
        }
        page.push_str(TAIL);
        page
    }
}

/// The name that a signature begins with.
fn name(signature: &'static str) -> &'static str {
    let end = signature.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    end.map_or(signature, |end| &signature[..end])
}

const HEAD: &str = "\
# Reference

What a policy in [Rhai](https://rhai.rs/book/) can see and call, as the gateway registers it. Made by \
`kairos policy reference`; what a policy is, and how it is tested: [README](README.md). What each number means, \
to the last bit: [types.wit](../wit/v0.1/types.wit), under the same names.

Types: `int` has 64 bits, `float` is double precision, a `column` holds one number for each model on offer. \
`?` after a type: or `()`, where it is not known. A policy is one file. A router has \
`fn route(ctx, features, models)`, which gives a `plan`; a healer has \
`fn heal(ctx, features, failure, history, models)`, which gives a `remedy`; a guard has \
`fn inspect(ctx, passage, state, text, last)`, which gives a `verdict`; a prompter has \
`fn render(ctx, features, models, first, draft)`, which gives `edits`; an observer has \
`fn observe(ctx, at, missed, event)`, which writes by `kv_set`, and whose result does not matter; an evaluator has \
`fn score(ctx, item, outcome)`, which gives a `score`; a mutator has `fn propose(ctx, genome, evidence, seed)`, which \
gives an array of proposals. Each may have `fn describe()`, \
which gives `#{ name: \"thrifty\", reasons: #{ \"1\": \"cheapest\" } }`, and of a guard `hold_back: 64`: the most bytes \
of a text that it leaves undecided. What reads or writes what was learned says in which space, and of which layout: \
`kv: \"a-name\", kv_schema: 1`; without `kv` the space is of the policy's own name.
";

const TAIL: &str = "
## Rhai's own

Of Rhai's packages there are those for [numbers](https://rhai.rs/book/ref/num-fn.html), \
[logic](https://rhai.rs/book/ref/logic.html), [text](https://rhai.rs/book/ref/string-fn.html), \
[arrays](https://rhai.rs/book/ref/array-fn.html), [maps](https://rhai.rs/book/ref/map-fn.html) and iteration. \
An anonymous function sees its parameters only. There is no `eval`, `import`, `Fn`, `curry`, `sleep` or \
`timestamp`, and `print` writes nothing. `pad`, `replace` and `split` keep to the bounds that \
[README](README.md) names.
";

#[cfg(test)]
mod tests {
    /// The page holds all that is registered, because there is no other way to register.
    #[test]
    fn nothing_is_registered_past_the_table() {
        for (file, text) in [
            ("api.rs", include_str!("api.rs")),
            ("column.rs", include_str!("column.rs")),
            ("models.rs", include_str!("models.rs")),
            ("policy.rs", include_str!("policy.rs")),
            ("worlds/router.rs", include_str!("worlds/router.rs")),
            ("worlds/healer.rs", include_str!("worlds/healer.rs")),
            ("worlds/guard.rs", include_str!("worlds/guard.rs")),
            ("worlds/prompter.rs", include_str!("worlds/prompter.rs")),
            ("worlds/observer.rs", include_str!("worlds/observer.rs")),
            ("worlds/evaluator.rs", include_str!("worlds/evaluator.rs")),
            ("worlds/mutator.rs", include_str!("worlds/mutator.rs")),
            ("outside.rs", include_str!("outside.rs")),
        ] {
            assert!(!text.contains(".register_"), "{file} registers something that the reference does not know");
        }
        let page = crate::script::reference();
        // Each row says what it is, and how it is written; no name is there twice in a section.
        let mut seen = std::collections::HashSet::new();
        let mut rows = 0;
        for line in page.lines() {
            if line.starts_with("## ") {
                seen.clear();
            }
            let Some(row) = line.strip_prefix("| `") else { continue };
            let (signature, doc) = row.split_once("` | ").unwrap();
            assert!(doc.ends_with(". |") || doc.ends_with("… |"), "{line}");
            assert!(seen.insert(signature.to_owned()), "{line}");
            rows += 1;
        }
        assert!(rows > 80, "{rows}");
    }
}
