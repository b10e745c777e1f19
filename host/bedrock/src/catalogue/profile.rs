//! Application inference profiles in the catalogue: each is a target of the model that it stands for, called by
//! its ARN, at the price of the way that it was made of.

use kairos_pipeline::models::{Catalogue, Named, Target};
use kairos_pipeline::policy::Route;
use kairos_pipeline::price::PriceTable;

use super::geographies;

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

/// The way of a model that is not called within this region: a profile that reaches no other region was made of one
/// of the geography's.
fn of_geography(catalogue: &Catalogue, id: &str) -> Option<usize> {
    let named = |geography: &&str| match catalogue.names.get(&format!("{geography}.{id}")) {
        Some(Named::Target(target)) => Some(*target),
        Some(Named::Model(_)) | None => None,
    };
    geographies(&catalogue.region).iter().find_map(named)
}

/// The model of what a profile stands for, a model's id or a profile's, and what it costs there. Without a price it
/// is usable where what has none may be called.
pub fn usable(catalogue: &Catalogue, stands_for: &str) -> Result<(usize, PriceTable), Unusable> {
    let named = match catalogue.names.get(stands_for) {
        Some(Named::Target(target)) => Some(*target),
        Some(Named::Model(_)) => of_geography(catalogue, stands_for),
        None => None,
    };
    if let Some(target) = named {
        let target = &catalogue.targets[target];
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

#[cfg(test)]
mod tests {
    use kairos_dialects::outline::ServiceTier;

    use super::super::{BUILT_IN, View, load};
    use super::*;

    #[test]
    fn a_profile_within_one_region_is_the_geographys_where_the_model_is_not_called_in_the_region() {
        for (region, id, way) in [
            ("us-east-1", "anthropic.claude-sonnet-4-6", "us.anthropic.claude-sonnet-4-6"),
            ("ap-northeast-1", "anthropic.claude-sonnet-4-6", "jp.anthropic.claude-sonnet-4-6"),
            ("us-east-1", "amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ] {
            let catalogue = load(BUILT_IN, &View::plain(region, "2026-11-23".parse().unwrap())).unwrap();
            let input = |id: &str| {
                let (model, prices) = usable(&catalogue, id).unwrap();
                (model, prices.rates(ServiceTier::Standard, 0, catalogue.day).unwrap().input)
            };
            assert_eq!(input(id), input(way), "{region}");
        }
    }

    #[test]
    fn what_is_set_of_a_profile_waits_until_it_is_known() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a".to_owned();
        let names = ["nova-lite".to_owned(), arn.clone()];
        let figures = [(arn.clone(), 7)];
        let plain = View::plain("us-east-1", "2026-11-23".parse().unwrap());
        let view = View { auto: Some(&names), fallback: &names, burndown: &figures, ..plain };
        let of = |stands_for: Option<&str>| {
            let profiles: Vec<_> = stands_for.map(|to| (arn.clone(), to.to_owned())).into_iter().collect();
            let catalogue = load(BUILT_IN, &View { profiles: &profiles, ..view.clone() }).unwrap();
            let counts = catalogue.models.iter().filter(|model| model.burndown == 7).count();
            (catalogue.auto.len(), catalogue.fallback.len(), counts)
        };
        assert_eq!(of(None), (1, 1, 0));
        assert_eq!(of(Some("amazon.nova-pro-v1:0")), (2, 2, 1));
        // What nobody can chat with is no model to choose from.
        assert_eq!(of(Some("amazon.titan-embed-text-v2:0")), (1, 1, 1));
        // A name that is no profile's is wrong, as ever.
        let wrong = ["nova-lita".to_owned()];
        assert!(load(BUILT_IN, &View { auto: Some(&wrong), ..view }).is_err());
    }
}
