//! From a file of tests to questions and what is expected of the answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::learned::{Reads, Source, SpaceId};
use kairos_pipeline::models::Catalogue;
use kairos_pipeline::policy::{Complexity, Content, Features, Needs, Priority, RequestInfo, Task, World};

use super::expect::{self, Expected};
use super::offers::{self, Chosen};
use super::table::{self, Read, Table, Value, wrong};
use super::{Catalogues, View, worlds};
use crate::golden;
use crate::question::OwnedQuestion;

/// Bytes of a test's name: it goes into the log.
const NAME_BYTES: usize = 200;

/// A test: a question, and what is expected of its answer.
pub(crate) struct Case {
    pub(super) name: String,
    /// Where the name is in the file.
    pub(super) at: usize,
    pub(super) question: OwnedQuestion,
    /// Indices of the catalogue's targets.
    pub(super) targets: Vec<usize>,
    pub(super) catalogue: Arc<Catalogue>,
    /// What the policy is configured with, as JSON.
    pub(super) config: String,
    /// Whether it says what was learned.
    pub(super) has_kv: bool,
    pub(super) expected: Expected,
}

/// Reads all tests of a file, for a policy of a world.
pub(super) fn cases(text: &str, world: World, most: usize, catalogues: &Catalogues) -> Read<Vec<Case>> {
    let mut file = table::parse(text)?;
    let (as_of, region) = (file.take("as_of"), file.take("region"));
    let (models, tests) = (file.take("models"), file.take("test"));
    file.finish()?;
    let said = |value: &Option<Value<'_>>| value.as_ref().map(|value| value.text().map(str::to_owned)).transpose();
    let (day, home) = (said(&as_of)?, said(&region)?);
    let view = View { as_of: day.as_deref(), region: home.as_deref() };
    let catalogue = match (catalogues(view), &as_of) {
        (Ok(catalogue), _) => Arc::new(catalogue),
        (Err(error), Some(day)) => return day.wrong(error),
        (Err(error), None) => return wrong(0, error),
    };
    let models = models.map(|list| offers::read(list, world, &catalogue)).transpose()?;
    let mut cases: Vec<Case> = Vec::new();
    let tests = tests.map(Value::list).transpose()?.into_iter().flatten();
    for (place, test) in tests.enumerate() {
        if place == most {
            return wrong(test.at, format!("there are more than {most} tests"));
        }
        let case = case(test.item()?, world, models.as_deref(), &catalogue)?;
        if cases.iter().any(|other| other.name == case.name) {
            return wrong(case.at, format!("two tests have the name {:?}", case.name));
        }
        cases.push(case);
    }
    // A file that tests nothing would look like tests that pass.
    if cases.is_empty() { wrong(0, "there is no [[test]] in the file") } else { Ok(cases) }
}

fn case(mut test: Table<'_>, world: World, shared: Option<&[Chosen]>, catalogue: &Arc<Catalogue>) -> Read<Case> {
    let begin = test.at;
    let Some(name) = test.take("name") else { return wrong(begin, "a test needs a `name`") };
    let at = name.at;
    let name = name.text()?.to_owned();
    if name.is_empty() || name.len() > NAME_BYTES {
        return wrong(at, format!("name: it has {} bytes; 1 to {NAME_BYTES} are allowed", name.len()));
    }
    let own = test.read("models", |list| offers::read(list, world, catalogue))?;
    let (features, request) = (test.take("features"), test.take("request"));
    let beside = worlds::Beside::take(&mut test, world);
    let (config, kv, expected) = (test.take("config"), test.take("kv"), test.take("expect"));
    test.finish()?;
    let none = (!worlds::needs_models(world)).then_some(&[][..]);
    let Some(chosen) = own.as_deref().or(shared).or(none) else {
        return wrong(at, "the test has no models: name some under `models`, in it or at the top of the file");
    };
    let Some(expected) = expected else { return wrong(at, "the test has no `expect`: it would pass whatever happens") };
    let (features, named) = self::features(features, chosen, catalogue)?;
    let config = config.map(Value::table).transpose()?.map(Table::json).transpose()?;
    let has_kv = kv.is_some();
    let mut request = self::request(request, named, chosen, catalogue)?;
    request.learned = Arc::new(Reads::of(Arc::new(self::kv(kv)?)));
    let (request, models) = (Arc::new(request), offers::offers(chosen, catalogue, &features));
    let what = beside.read(begin, &features, (chosen, catalogue), (&request, &models))?;
    let question = OwnedQuestion { request, models, features, what };
    Ok(Case {
        name,
        at,
        expected: expect::read(expected, world, chosen, catalogue)?,
        question,
        targets: chosen.iter().map(|model| model.target).collect(),
        catalogue: Arc::clone(catalogue),
        config: config.map_or_else(|| "{}".to_owned(), |config| config.to_string()),
        has_kv,
    })
}

/// What a test says was learned, in the space of whoever reads it.
#[derive(Debug, Default)]
struct Said(BTreeMap<String, Arc<[u8]>>);

impl Source for Said {
    fn get(&self, _: &SpaceId, key: &str) -> Option<Arc<[u8]>> {
        self.0.get(key).cloned()
    }

    fn held(&self, _: &SpaceId) -> (usize, usize) {
        (self.0.len(), self.0.iter().map(|(key, value)| key.len() + value.len()).sum())
    }
}

/// What was learned: text by key.
fn kv(table: Option<Value<'_>>) -> Read<Said> {
    let Some(table) = table else { return Ok(Said::default()) };
    let entries = table.table()?.entries();
    entries.map(|(key, value)| Ok((key, value.text()?.as_bytes().into()))).collect::<Read<_>>().map(Said)
}

/// The features, with what the test does not say as in a plain, short question; and the name of the
/// model that is named.
fn features(table: Option<Value<'_>>, chosen: &[Chosen], catalogue: &Catalogue) -> Read<(Features, Option<String>)> {
    let plain = golden::plain();
    let Some(table) = table else { return Ok((plain, None)) };
    let mut table = table.table()?;
    let named = table.take("named");
    let tasks = Task::ALL.map(Task::name);
    let complexities = Complexity::ALL.map(Complexity::name);
    let priorities = Priority::ALL.map(Priority::name);
    let read = Features {
        task: table.read("task", |value| Ok(Task::ALL[value.one_of(&tasks)?]))?.unwrap_or(plain.task),
        task_hinted: table.read("task_hinted", |value| value.flag())?.unwrap_or(plain.task_hinted),
        complexity: table
            .read("complexity", |value| Ok(Complexity::ALL[value.one_of(&complexities)?]))?
            .unwrap_or(plain.complexity),
        complexity_hinted: table.read("complexity_hinted", |value| value.flag())?.unwrap_or(plain.complexity_hinted),
        estimated_tokens: table.read("estimated_tokens", |value| value.short())?.unwrap_or(plain.estimated_tokens),
        max_output_tokens: table.read("max_output_tokens", |value| value.short())?,
        max_latency_ms: table.read("max_latency_ms", |value| value.short())?,
        accuracy: table.read("accuracy", |value| value.fraction())?.unwrap_or(plain.accuracy),
        cost_sensitivity: table.read("cost_sensitivity", |value| value.fraction())?.unwrap_or(plain.cost_sensitivity),
        priority: table
            .read("priority", |value| Ok(Priority::ALL[value.one_of(&priorities)?]))?
            .unwrap_or(plain.priority),
        needs: Needs(table.read("needs", |value| value.bits(&Needs::NAMES))?.unwrap_or(plain.needs.0)),
        streaming: table.read("streaming", |value| value.flag())?.unwrap_or(plain.streaming),
        turns: table.read("turns", |value| value.short())?.unwrap_or(plain.turns),
        text_bytes: table.read("text_bytes", |value| value.short())?.unwrap_or(plain.text_bytes),
        named: named.as_ref().map(|name| offers::index(name, chosen, catalogue)).transpose()?,
        budget_remaining: table.read("budget_remaining", |value| value.whole(offers::MOST))?,
        budget_used: table.read("budget_used", |value| value.fraction())?.unwrap_or(plain.budget_used),
        budget_level: table.read("budget_level", |value| value.short())?.unwrap_or(plain.budget_level),
    };
    table.finish()?;
    Ok((read, named.map(|name| name.text().map(str::to_owned)).transpose()?))
}

/// What of the request is not a number.
fn request(
    table: Option<Value<'_>>,
    named: Option<String>,
    chosen: &[Chosen],
    catalogue: &Arc<Catalogue>,
) -> Read<RequestInfo> {
    let mut request = RequestInfo {
        content: Content::default(),
        tags: Default::default(),
        task_label: None,
        asked_model: named.unwrap_or_else(|| "auto".to_owned()),
        model_ids: offers::ids(chosen, catalogue),
        regions: vec![Arc::clone(&catalogue.region)],
        names: Arc::clone(catalogue) as _,
        learned: Arc::default(),
    };
    let Some(table) = table else { return Ok(request) };
    let mut table = table.table()?;
    let text = |value: Value<'_>| value.text().map(str::to_owned);
    let prompt = table.read("prompt", text)?.unwrap_or_default();
    request.content = Content::new(prompt, table.read("system", text)?.unwrap_or_default());
    request.task_label = table.read("task_label", text)?;
    request.asked_model = table.read("asked_model", text)?.unwrap_or(request.asked_model);
    let tags = table.read("tags", |value| {
        value.table()?.entries().map(|(name, value)| Ok((name, text(value)?))).collect::<Read<Vec<_>>>()
    })?;
    request.tags = tags.unwrap_or_default().into();
    table.finish()?;
    Ok(request)
}
