//! TOML, read value by value: what is wrong is told with its place, a key that is not known with the
//! nearest that is.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a file, and where: an offset in its bytes.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) message: String,
}

pub(crate) type Read<T> = Result<T, Wrong>;

/// Says what is wrong at a place.
pub(crate) fn wrong<T>(at: usize, message: impl Into<String>) -> Read<T> {
    Err(Wrong { at, message: message.into() })
}

/// The name that is nearest to `name`, where one is near, as a question.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let scored = known.into_iter().map(|known| (strsim::jaro_winkler(known, name), known));
    let (_, near) = scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!("did you mean {near:?}?"))
}

/// A value, and what it is called.
pub(crate) struct Value<'a> {
    pub(crate) name: String,
    pub(crate) at: usize,
    value: DeValue<'a>,
}

/// A table whose keys are taken one by one. What nobody has taken in the end is not known.
pub(crate) struct Table<'a> {
    name: String,
    pub(crate) at: usize,
    keys: DeTable<'a>,
    known: Vec<&'static str>,
}

/// Reads a whole file.
pub(crate) fn parse(text: &str) -> Read<Table<'_>> {
    match DeTable::parse(text) {
        Ok(file) => Ok(Table { name: String::new(), at: 0, keys: file.into_inner(), known: Vec::new() }),
        Err(error) => wrong(error.span().map_or(0, |span| span.start), error.message()),
    }
}

impl<'a> Table<'a> {
    /// The value of a key, where there is one.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        let value = self.keys.remove(key)?;
        Some(Value::new(self.name_of(key), value))
    }

    /// The same, read.
    pub(crate) fn read<T>(&mut self, key: &'static str, read: impl FnOnce(Value<'a>) -> Read<T>) -> Read<Option<T>> {
        self.take(key).map(read).transpose()
    }

    fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// All keys and values, whatever their names.
    pub(crate) fn entries(self) -> impl Iterator<Item = (String, Value<'a>)> {
        let Self { name, keys, .. } = self;
        keys.into_iter().map(move |(key, value)| {
            let key = key.into_inner().into_owned();
            (key.clone(), Value::new(format!("{name}.{key}"), value))
        })
    }

    /// All of it as JSON, as configuration reaches a policy.
    pub(crate) fn json(self) -> Read<serde_json::Value> {
        self.entries().map(|(key, value)| Ok((key, value.json()?))).collect()
    }

    /// Nothing is left that nobody knows.
    pub(crate) fn finish(self) -> Read<()> {
        let Some(unknown) = self.keys.keys().min_by_key(|key| key.span().start) else { return Ok(()) };
        let hint = did_you_mean(unknown.get_ref(), self.known.iter().copied())
            .unwrap_or_else(|| format!("there are {}", self.known.join(", ")));
        let name = self.name_of(unknown.get_ref());
        wrong(unknown.span().start, format!("there is no key {name:?}; {hint}"))
    }
}

impl<'a> Value<'a> {
    fn new(name: String, value: Spanned<DeValue<'a>>) -> Self {
        Self { name, at: value.span().start, value: value.into_inner() }
    }

    /// Says what is wrong with it.
    pub(crate) fn wrong<T>(&self, message: impl std::fmt::Display) -> Read<T> {
        wrong(self.at, format!("{}: {message}", self.name))
    }

    fn is_not<T>(&self, what: &str) -> Read<T> {
        let is = match &self.value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date without quotes",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        wrong(self.at, format!("{} is {is}; {what} is needed", self.name))
    }

    pub(crate) fn text(&self) -> Read<&str> {
        self.value.as_str().map_or_else(|| self.is_not("text"), Ok)
    }

    /// The text, owned.
    pub(crate) fn into_text(self) -> Read<String> {
        self.text().map(str::to_owned)
    }

    pub(crate) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    pub(crate) fn flag(&self) -> Read<bool> {
        self.value.as_bool().map_or_else(|| self.is_not("true or false"), Ok)
    }

    /// A whole number of at most `most`.
    pub(crate) fn whole(&self, most: u64) -> Read<u64> {
        let Some(digits) = self.value.as_integer() else { return self.is_not("a whole number") };
        match u64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) if number <= most => Ok(number),
            _ => self.wrong(format_args!("{digits} is not between 0 and {most}")),
        }
    }

    /// A whole number of 32 bits.
    pub(crate) fn short(&self) -> Read<u32> {
        let number = self.whole(u32::MAX.into())?;
        u32::try_from(number).or_else(|_| self.is_not("a whole number"))
    }

    /// A number between 0 and 1.
    pub(crate) fn fraction(&self) -> Read<f64> {
        let text = match &self.value {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str(),
            _ => return self.is_not("a number"),
        };
        match text.parse() {
            Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
            _ => self.wrong(format_args!("{text} is not between 0 and 1")),
        }
    }

    /// The place of a name in a list of names.
    pub(crate) fn one_of(&self, names: &[&str]) -> Read<usize> {
        let text = self.text()?;
        names.iter().position(|name| *name == text).map_or_else(
            || {
                let hint = did_you_mean(text, names.iter().copied())
                    .unwrap_or_else(|| format!("there are {}", names.join(", ")));
                self.wrong(format_args!("there is no {text:?}; {hint}"))
            },
            Ok,
        )
    }

    /// A list of such names, as bits.
    pub(crate) fn bits(self, names: &[&str]) -> Read<u32> {
        self.list()?.try_fold(0, |bits, name| Ok(bits | 1 << name.one_of(names)?))
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(crate) fn list(self) -> Read<impl Iterator<Item = Value<'a>>> {
        let Self { name, at, value } = self;
        match value {
            DeValue::Array(items) => Ok(items.into_iter().map(move |item| Value::new(name.clone(), item))),
            value => Value { name, at, value }.is_not("a list"),
        }
    }

    pub(crate) fn table(self) -> Read<Table<'a>> {
        let Self { name, at, value } = self;
        match value {
            DeValue::Table(keys) => Ok(Table { name, at, keys, known: Vec::new() }),
            value => Value { name, at, value }.is_not("a table"),
        }
    }

    /// A table whose keys have no name before them in messages: the line says which it is.
    pub(crate) fn item(self) -> Read<Table<'a>> {
        self.table().map(|table| Table { name: String::new(), ..table })
    }

    /// It as JSON.
    pub(crate) fn json(self) -> Read<serde_json::Value> {
        match &self.value {
            DeValue::String(text) => Ok(text.to_string().into()),
            DeValue::Boolean(flag) => Ok((*flag).into()),
            DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) => Ok(number.into()),
                Err(_) => self.wrong(format_args!("{digits} has more than 64 bits")),
            },
            DeValue::Float(digits) => match digits.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number.into()),
                _ => self.wrong(format_args!("{digits} is not finite")),
            },
            DeValue::Datetime(_) => self.is_not("text, a number, true or false, a list or a table"),
            DeValue::Array(_) => self.list()?.map(Value::json).collect(),
            DeValue::Table(_) => self.table()?.json(),
        }
    }
}
