//! Application inference profiles in the catalogue: each is a target of the model that it stands for, called by
//! its ARN, at the price of the way that it was made of.

use kairos_pipeline::models::{Catalogue, Named, Target};
use kairos_pipeline::policy::Route;
use kairos_pipeline::price::PriceTable;

/// Why a profile cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A model that the catalogue does not have.
    #[error("{0}, which this version does not know")]
    UnknownModel(String),
    /// A way to a model without a price.
    #[error("{0}, which has no known price from this region")]
    Unpriced(String),
}

/// Adds profiles, by ARN and what each stands for. What is named already stays as it is, and what cannot be called
/// is left out.
pub(super) fn add(catalogue: &mut Catalogue, profiles: &[(String, String)]) {
    for (arn, stands_for) in profiles {
        let Ok((model, prices)) = usable(catalogue, stands_for) else { continue };
        if catalogue.names.contains_key(arn) {
            continue;
        }
        let target = Target { model, invocation_id: arn.as_str().into(), route: Route::Account, prices };
        catalogue.names.insert(arn.clone(), Named::Target(catalogue.targets.len()));
        catalogue.targets.push(target);
    }
}

/// The model of what a profile stands for, a model's id or a profile's, and what it costs there. Without a price it
/// is usable where what has none may be called.
pub fn usable(catalogue: &Catalogue, stands_for: &str) -> Result<(usize, PriceTable), Unusable> {
    if let Some(Named::Target(target)) = catalogue.names.get(stands_for) {
        let target = &catalogue.targets[*target];
        return Ok((target.model, target.prices.clone()));
    }
    // A way that has no price is none of the catalogue's.
    let base = stands_for.split_once('.').map_or("", |(_, base)| base);
    let is_it = |id: &str| id == stands_for || id == base;
    let Some(model) = catalogue.models.iter().position(|model| is_it(&model.id)) else {
        return Err(Unusable::UnknownModel(stands_for.to_owned()));
    };
    match catalogue.stand_ins.is_empty() {
        true => Err(Unusable::Unpriced(stands_for.to_owned())),
        false => Ok((model, PriceTable::default())),
    }
}
