//! HTTP: connections, addresses, bodies. What a request means is the pipeline's business.

mod accept;
mod admin;
mod body;
mod feedback;
mod guard;
mod jobs;
mod pages;
mod refusals;
mod respond;
mod routes;
mod under_way;
mod workers;

pub(crate) use accept::{Listening, listen};
pub(crate) use routes::{App, router};
pub(crate) use workers::Workers;
