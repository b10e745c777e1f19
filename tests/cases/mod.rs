//! One module a subject.

mod agreement;
mod batches;
mod canary;
mod cli;
mod clients;
mod counts;
mod doctor;
mod errors;
mod families;
mod generate;
mod healers;
mod hostile;
mod keys;
mod ledger;
mod lifecycle;
mod limits;
mod money;
mod plugins;
mod policies;
mod records;
mod refusals;
mod replay;
mod routing;
mod scripted;
mod streams;
