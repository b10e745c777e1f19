//! Whether the credentials may call a model: asked of Bedrock itself, without paying for it.
//!
//! AWS's control plane can report access that an actual call is denied (anthropics/claude-code#51183).
//! So the model is called, with a conversation that Bedrock refuses after it has checked access and
//! before it generates: an empty one.

use std::sync::Arc;

use bytes::Bytes;
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::upstream::{Call, Upstream as _, UpstreamOperation};

use crate::client::Client;

/// What a model's check found.
#[derive(Debug)]
pub enum Access {
    /// The credentials may call it. What Bedrock said of the empty conversation, to read.
    Granted(String),
    /// They may not, or there is no such model here: this is what Bedrock says.
    Denied(Failure),
}

/// Checks models one by one.
pub struct Checker<'a> {
    client: &'a Client,
    /// What Bedrock says of a model that does not exist.
    no_such_model: String,
}

/// A name that no model has.
const NO_MODEL: &str = "kairos.no-such-model-v0";

impl<'a> Checker<'a> {
    /// A checker, once Bedrock has said how it speaks of a model that does not exist. That is a
    /// validation error, like an empty conversation: only by comparing are they told apart.
    pub async fn new(client: &'a Client) -> Result<Self, Failure> {
        match ask(client, NO_MODEL).await {
            Err(failure) if matches!(failure.kind, Kind::Rejected | Kind::ModelNotFound | Kind::AccessDenied) => {
                Ok(Self { client, no_such_model: failure.message })
            }
            Err(failure) => Err(failure),
            Ok(()) => Ok(Self { client, no_such_model: String::new() }),
        }
    }

    /// Checks one model, by the id, profile or ARN that would be called.
    pub async fn check(&self, invocation_id: &str) -> Access {
        match ask(self.client, invocation_id).await {
            Err(failure) if failure.kind == Kind::Rejected && failure.message != self.no_such_model => {
                Access::Granted(failure.message)
            }
            Err(failure) => Access::Denied(failure),
            Ok(()) => Access::Granted(String::new()),
        }
    }
}

async fn ask(client: &Client, invocation_id: &str) -> Result<(), Failure> {
    let call = Call {
        operation: UpstreamOperation::Converse,
        invocation_id: invocation_id.into(),
        body: Bytes::from_static(br#"{"messages":[]}"#),
        headers: Arc::from([]),
        attempt: "access-check".to_owned(),
    };
    client.call(call).await.map(|_| ())
}
