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
    /// Once it is known, the catalogue that serves has the ARN as a name. Otherwise says why it is not. No key has all
    /// questions that may be asked.
    fn resolve<'a>(&'a self, key: &'a str, arn: &'a str) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Whether a name is the ARN of an application inference profile.
pub fn is_application(name: &str) -> bool {
    name.starts_with("arn:") && name.contains(":application-inference-profile/")
}

/// Makes the name of a model known where it is a profile's that nobody has asked for before.
pub(crate) async fn make_known(gateway: &Gateway, exchange: &mut Exchange, name: Option<&str>) -> Result<(), Failure> {
    let new = name.filter(|name| is_application(name) && !exchange.catalogue.names.contains_key(*name));
    let Some(arn) = new else { return Ok(()) };
    let found = match may_ask(exchange, arn) {
        Ok(()) => gateway.profiles.resolve(&exchange.key, arn).await.map_err(|failure| failure.with_param("model")),
        Err(failure) => Err(failure),
    };
    if let Err(failure) = found {
        if exchange.record.asked_model.is_empty() {
            exchange.record.asked_model.push_str(&arn[..arn.floor_char_boundary(256)]);
        }
        return Err(failure);
    }
    exchange.look_anew(gateway);
    Ok(())
}

/// Whether the caller's key may use a profile at all, whatever it stands for: otherwise nobody is asked for its sake.
fn may_ask(exchange: &Exchange, arn: &str) -> Result<(), Failure> {
    let Some(scope) = &exchange.scope else { return Ok(()) };
    scope.speaks(exchange.dialect)?;
    // A key for this very ARN may use what is not known yet.
    if exchange.allows_none() && !scope.models.iter().flatten().any(|name| name == arn) {
        return Err(scope.refuse_model(arn));
    }
    Ok(())
}
