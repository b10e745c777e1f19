//! Before a request is routed: what the ARN of an application inference profile stands for.
//!
//! Whoever knows AWS finds out; what it found is in the catalogue from then on, and a request that names it again
//! passes here without waiting.

use futures_util::future::BoxFuture;
use kairos_dialects::Failure;

use crate::exchange::Exchange;
use crate::gateway::Gateway;

/// Who finds out what application inference profiles stand for.
pub trait Profiles: Send + Sync {
    /// Once it is known, the catalogue that serves has the ARN as a name. Otherwise says why it is not.
    fn resolve<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Whether a name is the ARN of an application inference profile.
pub fn is_application(name: &str) -> bool {
    name.starts_with("arn:") && name.contains(":application-inference-profile/")
}

/// Makes the name of a model known where it is a profile's that nobody has asked for before.
pub(crate) async fn make_known(gateway: &Gateway, exchange: &mut Exchange, name: Option<&str>) -> Result<(), Failure> {
    let new = name.filter(|name| is_application(name) && !exchange.catalogue.names.contains_key(*name));
    let Some(arn) = new else { return Ok(()) };
    if let Err(failure) = gateway.profiles.resolve(arn).await {
        if exchange.record.asked_model.is_empty() {
            exchange.record.asked_model.push_str(&arn[..arn.floor_char_boundary(256)]);
        }
        return Err(failure.with_param("model"));
    }
    exchange.look_anew(gateway);
    Ok(())
}
