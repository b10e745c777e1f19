//! What begins and ends an experiment, or a shadow: an operator, or what was measured.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::run::{Running, unix_ms};
use super::{Experiment, Plan, Report, Verdict, What};
use crate::acts::{ActError, Done};
use crate::generation::Generation;
use crate::host::{PolicyHost, State};
use crate::lineup::Canary;
use crate::shadow::Watch;
use crate::status::ROLLED_BACK;
use crate::versions::{Act, By, Trial};

/// Experiments that are read when the gateway starts.
const READ: usize = 8;

impl PolicyHost {
    /// Lets a version decide a share of the requests, to be compared with what serves. One at a time.
    pub fn try_out(&self, beginning: &str, plan: Plan, by: &By) -> Result<Done, ActError> {
        let generation = self.resident_for_experiment(beginning)?;
        let digest = generation.identity().digest.clone();
        let _acting = self.begin();
        let baseline = {
            let state = self.lock();
            if state.is_quarantined(&digest) {
                return Err(ActError::Quarantined(digest));
            }
            if state.lineup.serves(&digest) {
                return Err(ActError::ServesAlready(digest));
            }
            if let Some(canary) = &state.lineup.canary {
                let digest = canary.generation.identity().digest.clone();
                return Err(ActError::UnderWay { id: canary.experiment, slot: self.slot(), digest });
            }
            self.baseline(&state)
        };
        let newest = self.versions.trials(self.slot(), 1).map_err(ActError::Store)?;
        let newest = newest.first().map(|trial| trial.id).into_iter().chain(self.newest_trial());
        let id = newest.max().unwrap_or(0) + 1;
        let tries_before = self.versions.tries(self.slot(), &digest).map_err(ActError::Store)?;
        let before = self.setting(&self.lock());
        let loaded_with = [generation.identity().setting().to_string(), before.to_string()];
        let plan = Plan { tries_before, loaded_with, ..plan };
        let share = plan.share;
        let sticky = plan.sticky.as_deref().map(Arc::from);
        let detail = serde_json::to_string(&plan).map_err(|error| ActError::Store(error.to_string()))?;
        *self.trials.running() = Some(Running {
            id,
            slot: self.slot(),
            digest: digest.clone(),
            canary: generation.identity().label().to_string(),
            baseline: baseline.to_string(),
            began_ms: unix_ms(),
            experiment: Experiment::new(plan),
            verdict: None,
        });
        let act = Act { by, what: "canary", slot: self.slot(), digest: Some(&digest), detail: Some(&detail) };
        let begun = self.act(&act, None, |state| {
            if !state.is_quarantined(&digest) {
                let (generation, sticky) = (Arc::clone(&generation), sticky.clone());
                state.lineup.try_out(Canary { generation, experiment: id, share, sticky });
            }
        });
        if let Err(error) = begun {
            *self.trials.running() = None;
            return Err(ActError::Store(error));
        }
        tracing::info!(policy = &**generation.identity().label(), share, experiment = id, "a canary serves a share");
        Ok(Done::with(&generation, false))
    }

    /// The number of the newest experiment that is known here.
    fn newest_trial(&self) -> Option<u64> {
        self.trials.reports().iter().map(|report| report.id).max()
    }

    /// Asks a version as well, of this part of the questions, without ever following it.
    pub fn watch_shadow(&self, beginning: &str, sample: f64, by: &By) -> Result<Done, ActError> {
        let generation = self.resident_for_experiment(beginning)?;
        let digest = generation.identity().digest.clone();
        let _acting = self.begin();
        {
            let state = self.lock();
            if state.is_quarantined(&digest) {
                return Err(ActError::Quarantined(digest));
            }
            if state.lineup.serves(&digest) || state.lineup.tries(&digest) {
                return Err(ActError::ServesAlready(digest));
            }
        }
        let watch = Watch::start(Arc::clone(&generation), sample);
        let watch = watch.map_err(|error| ActError::Store(format!("there is no thread for it: {error}")))?;
        let detail = format!("sample {sample}");
        let act = Act { by, what: "shadow", slot: self.slot(), digest: Some(&digest), detail: Some(&detail) };
        self.act(&act, None, |state| {
            if !state.is_quarantined(&digest) {
                state.lineup.watch(Arc::clone(&watch));
            }
        })
        .map_err(ActError::Store)?;
        tracing::info!(policy = &**generation.identity().label(), sample, "a shadow is asked as well");
        Ok(Done::with(&generation, false))
    }

    /// Ends the canary, if there is one: it stays ready. Within an act.
    pub(crate) fn end_canary(&self, by: &By) -> Result<Option<Done>, ActError> {
        let Some(canary) = self.lock().lineup.canary.clone() else { return Ok(None) };
        let digest = canary.generation.identity().digest.clone();
        let act = Act { by, what: "rollback", slot: self.slot(), digest: Some(&digest), detail: None };
        self.act(&act, None, |state| end(state, canary.experiment)).map_err(ActError::Store)?;
        let policy = &**canary.generation.identity().label();
        tracing::info!(policy, actor = by.actor, why = by.why.as_deref(), "a canary serves no share any more");
        Ok(Some(Done {
            ended: Some(Arc::clone(canary.generation.identity().label())),
            ..Done::with(&canary.generation, false)
        }))
    }

    /// The experiment under way as it is after an act: it ends with one that takes its canary away, or
    /// what it is compared with.
    pub(crate) fn trial_after(&self, next: &State, act: &Act<'_>) -> Result<Option<Trial>, String> {
        let mut running = self.trials.running();
        let Some(running) = running.as_mut() else { return Ok(None) };
        let goes_on = next.lineup.canary.as_ref().is_some_and(|canary| canary.experiment == running.id);
        if !goes_on && running.verdict.is_none() {
            running.verdict = Some(match act {
                Act { what: "quarantine", digest: Some(digest), by, .. } if *digest == running.digest => {
                    let why = by.why.as_deref().unwrap_or_default();
                    let text = format!("rolled back by itself: quarantined: {why}");
                    Verdict { what: What::RolledBack, why: "quarantined".to_owned(), text }
                }
                Act { what, by, .. } => {
                    let text = format!("ended by {}: {what}", by.actor);
                    Verdict { what: What::Ended, why: (*what).to_owned(), text }
                }
            });
        }
        running.row().map(Some)
    }

    /// The act that would have ended the experiment did not happen.
    pub(crate) fn trial_goes_on(&self) {
        self.trials.running().iter_mut().for_each(|running| running.verdict = None);
    }

    /// The experiment has ended, and that is written down.
    pub(crate) fn trial_ended(&self) {
        let Some(ended) = self.trials.running().take() else { return };
        let report = ended.report();
        if let Some(verdict) = &report.verdict {
            match verdict.what {
                What::RolledBack => {
                    let why = ROLLED_BACK.iter().position(|why| *why == verdict.why);
                    let count = why.and_then(|why| self.counters.rolled_back.get(why));
                    if let Some(count) = count {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    tracing::error!(policy = ended.canary, experiment = ended.id, "canary {}", verdict.text);
                }
                What::Promoted => {
                    self.counters.promoted.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(policy = ended.canary, experiment = ended.id, "canary {}", verdict.text);
                }
                What::Ended => {
                    tracing::info!(policy = ended.canary, experiment = ended.id, "experiment {}", verdict.text);
                }
            }
        }
        self.trials.remember(report);
    }

    /// Does what follows from what was measured.
    pub(crate) fn follow_up(&self) {
        let (id, verdict, share) = {
            let mut running = self.trials.running();
            let Some(running) = running.as_mut() else { return };
            let age = running.age_ms();
            let verdict = running.verdict.clone().or_else(|| running.experiment.verdict(age));
            let share = verdict.is_none().then(|| running.experiment.grow()).flatten();
            (running.id, verdict, share)
        };
        if let Some(verdict) = verdict {
            self.conclude(id, &verdict);
        } else if let Some(share) = share {
            self.grow(id, share);
        }
    }

    fn conclude(&self, id: u64, verdict: &Verdict) {
        let _acting = self.begin();
        let (slot, digest) = {
            let mut running = self.trials.running();
            // Somebody may have ended it meanwhile.
            let Some(running) = running.as_mut().filter(|running| running.id == id) else { return };
            running.verdict = Some(verdict.clone());
            (running.slot, running.digest.clone())
        };
        let by = By::kairos(&verdict.text);
        let most = self.loader.limits.previous_generations;
        let promoted = verdict.what == What::Promoted;
        let what = if promoted { "promote" } else { "rollback" };
        let act = Act { by: &by, what, slot, digest: Some(&digest), detail: None };
        let done = self.act(&act, None, |state| {
            let canary = state.lineup.canary.clone().filter(|canary| canary.experiment == id);
            match canary.filter(|_| promoted && !state.is_quarantined(&digest)) {
                Some(canary) => state.lineup.serve(Some(canary.generation), most),
                None => end(state, id),
            }
        });
        let Err(error) = done else { return };
        if promoted {
            tracing::error!("a promotion could not be written down, so it is not done: {error}");
            return;
        }
        // What is worse serves no more, whether or not the disk takes note.
        tracing::error!("a rollback could not be written down, a restart forgets it: {error}");
        self.trials.running().iter_mut().for_each(|running| running.verdict = Some(verdict.clone()));
        let mut state = self.lock();
        end(&mut state, id);
        self.publish(&state);
        drop(state);
        self.trial_ended();
    }

    fn grow(&self, id: u64, share: f64) {
        let _acting = self.begin();
        let digest = self.lock().lineup.canary.as_ref().map(|canary| canary.generation.identity().digest.clone());
        let Some(digest) = digest else { return };
        let by = By::kairos("as many requests as a step takes went well");
        let detail = format!("share {share}");
        let act = Act { by: &by, what: "share", slot: self.slot(), digest: Some(&digest), detail: Some(&detail) };
        let grown = self.act(&act, None, |state| {
            if let Some(canary) = state.lineup.canary.as_mut().filter(|canary| canary.experiment == id) {
                canary.share = share;
            }
        });
        match grown {
            Ok(()) => tracing::info!(share, experiment = id, "the canary's share grows"),
            Err(error) => tracing::error!("that the canary's share grows could not be written down: {error}"),
        }
    }

    /// Writes down what was measured since.
    pub(crate) fn write_trial(&self) {
        let row = self.trials.running().as_ref().map(Running::row);
        let written = row.map(|row| row.and_then(|row| self.versions.keep_trial(&row)));
        if let Some(Err(error)) = written {
            tracing::error!("what was measured of a canary could not be written down: {error}");
        }
    }

    /// Takes up the experiment that the last run left, and what is known of those before.
    pub(crate) fn restore_trials(&self, state: &mut State) -> Result<(), String> {
        for trial in self.versions.trials(self.slot(), READ)?.into_iter().rev() {
            if trial.ended_ms.is_none() {
                self.go_on(state, trial)?;
            } else if let Ok(report) = serde_json::from_str::<Report>(&trial.report) {
                self.trials.remember(report);
            }
        }
        Ok(())
    }

    fn go_on(&self, state: &mut State, trial: Trial) -> Result<(), String> {
        let Trial { id, slot, digest, baseline, began_ms, .. } = trial;
        let unreadable = |error: serde_json::Error| format!("experiment {id} cannot be read: {error}");
        let plan: Plan = serde_json::from_str(&trial.plan).map_err(unreadable)?;
        let experiment = Experiment::go_on(plan.clone(), &trial.state).map_err(unreadable)?;
        let share = experiment.share();
        let said: Option<Report> = serde_json::from_str(&trial.report).ok();
        let canary = said.map_or_else(|| digest.clone(), |said| said.canary);
        let mut running = Running { id, slot, digest, canary, baseline, began_ms, experiment, verdict: None };
        let why = if *self.baseline(state) != *running.baseline {
            Some("what it was compared with does not serve any more")
        } else {
            let baseline = self.setting(state);
            let loaded = |canary: &str| [canary, &baseline].map(str::to_owned);
            match self.restore_idle(&running.digest) {
                Some(generation) if loaded(generation.identity().setting()) != plan.loaded_with => {
                    state.lineup.stage(generation);
                    Some("configuration or grants have changed")
                }
                Some(generation) => {
                    let sticky = plan.sticky.as_deref().map(Arc::from);
                    state.lineup.try_out(Canary { generation, experiment: id, share, sticky });
                    None
                }
                None => Some("its version cannot be loaded any more"),
            }
        };
        if let Some(why) = why {
            running.verdict = Some(Verdict {
                what: What::Ended,
                why: "restart".to_owned(),
                text: format!("ended by a restart: {why}"),
            });
            self.versions.keep_trial(&running.row()?)?;
            self.trials.remember(running.report());
            return Ok(());
        }
        *self.trials.running() = Some(running);
        Ok(())
    }

    /// Watches again what the last run watched.
    pub(crate) fn restore_shadow(&self, state: &mut State, shadow: Option<&(String, f64)>) {
        let Some((digest, sample)) = shadow else { return };
        let Some(generation) = self.restore_idle(digest) else { return };
        match Watch::start(generation, *sample) {
            Ok(watch) => state.lineup.watch(watch),
            Err(error) => tracing::warn!(digest, "there is no thread for the shadow: {error}"),
        }
    }

    /// A version of a slot that takes experiments.
    fn resident_for_experiment(&self, beginning: &str) -> Result<Arc<Generation>, ActError> {
        if self.takes_experiments() { self.resident(beginning) } else { Err(ActError::NoExperiments(self.slot())) }
    }

    /// A version that is resident, or is made so from what is kept.
    pub(crate) fn resident(&self, beginning: &str) -> Result<Arc<Generation>, ActError> {
        let digest = self.resolve(beginning)?.digest;
        if let Some(generation) = self.lock().lineup.find(&digest) {
            return Ok(Arc::clone(generation));
        }
        let kept = self.versions.version(self.slot(), &digest).map_err(ActError::Store)?;
        Ok(self.make_aside(&kept.ok_or(ActError::Unknown(digest))?)?)
    }
}

/// The canary of this experiment serves no share any more.
fn end(state: &mut State, experiment: u64) {
    if state.lineup.canary.as_ref().is_some_and(|canary| canary.experiment == experiment) {
        state.lineup.end_canary();
    }
}
