//! Which region is called, and where its services are.

/// A service of AWS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in signatures.
    pub signs_as: &'static str,
    /// The beginning of its host.
    host: &'static str,
    /// The variable that names another endpoint of it, as in AWS's SDKs.
    variable: &'static str,
}

/// Bedrock Runtime: the models.
pub const RUNTIME: Service =
    Service { signs_as: "bedrock", host: "bedrock-runtime", variable: "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" };
/// Bedrock's control plane: what there is.
pub const CONTROL: Service = Service { signs_as: "bedrock", host: "bedrock", variable: "AWS_ENDPOINT_URL_BEDROCK" };
/// Cost Explorer: what was charged.
pub const COST_EXPLORER: Service = Service { signs_as: "ce", host: "ce", variable: "AWS_ENDPOINT_URL_COST_EXPLORER" };

/// SNS: messages to whom it may concern.
pub const SNS: Service = Service { signs_as: "sns", host: "sns", variable: "AWS_ENDPOINT_URL_SNS" };

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme and authority, without a slash at the end: `https://bedrock-runtime.us-east-1.amazonaws.com`.
    pub url: String,
    /// The authority: what `Host` says, and what is signed.
    pub host: String,
}

/// Why an endpoint is not usable.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{variable}={value:?} is not a URL of the form http://HOST[:PORT] or https://HOST[:PORT]")]
pub struct EndpointError {
    variable: &'static str,
    value: String,
}

/// A service's endpoint in a region: what the environment says, else AWS's own.
///
/// Read, in this order: the service's own variable (`AWS_ENDPOINT_URL_BEDROCK_RUNTIME`), `AWS_ENDPOINT_URL`
/// (unless `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is true), `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`.
pub fn endpoint(
    service: Service,
    region: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Endpoint, EndpointError> {
    if let Some(name) = configured_by(service, &variable) {
        return configured(name, &variable(name).unwrap_or_default());
    }
    let is_true = |name: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let fips = if is_true("AWS_USE_FIPS_ENDPOINT") { "-fips" } else { "" };
    let domain = match (region.starts_with("cn-"), is_true("AWS_USE_DUALSTACK_ENDPOINT")) {
        (false, false) => "amazonaws.com",
        (true, false) => "amazonaws.com.cn",
        (false, true) => "api.aws",
        (true, true) => "api.amazonwebservices.com.cn",
    };
    let host = format!("{}{fips}.{region}.{domain}", service.host);
    Ok(Endpoint { url: format!("https://{host}"), host })
}

/// The variable that names a service's endpoint, where one does.
pub fn configured_by(service: Service, variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    [service.variable, "AWS_ENDPOINT_URL"].into_iter().find(|name| set(name).is_some())
}

/// The endpoint that a variable says.
fn configured(variable: &'static str, value: &str) -> Result<Endpoint, EndpointError> {
    let error = || EndpointError { variable, value: value.to_owned() };
    let url = value.trim_end_matches('/');
    let uri: http::Uri = url.parse().map_err(|_| error())?;
    let plain = uri.path().is_empty() || uri.path() == "/";
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
    match (scheme, uri.authority()) {
        (Some(_), Some(authority)) if plain && uri.query().is_none() && !authority.as_str().contains('@') => {
            Ok(Endpoint { url: url.to_owned(), host: authority.as_str().to_owned() })
        }
        _ => Err(error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(region: &str, variables: &[(&str, &str)]) -> Result<String, EndpointError> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        endpoint(RUNTIME, region, find).map(|endpoint| endpoint.url)
    }

    #[test]
    fn each_service_has_a_variable_of_its_own() {
        let find = |name: &str| (name == "AWS_ENDPOINT_URL_BEDROCK").then(|| "http://127.0.0.1:9000".to_owned());
        let url = |service| endpoint(service, "us-east-1", find).unwrap().url;
        assert_eq!(url(CONTROL), "http://127.0.0.1:9000");
        assert_eq!(url(RUNTIME), "https://bedrock-runtime.us-east-1.amazonaws.com");
        assert_eq!(url(COST_EXPLORER), "https://ce.us-east-1.amazonaws.com");
        assert_eq!(url(SNS), "https://sns.us-east-1.amazonaws.com");
    }

    #[test]
    fn the_environment_decides_before_the_region() {
        let specific = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9000/");
        let general = ("AWS_ENDPOINT_URL", "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com");
        assert_eq!(of("us-east-1", &[specific, general]).unwrap(), "http://127.0.0.1:9000");
        assert_eq!(of("us-east-1", &[general]).unwrap(), general.1);
        let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
        assert_eq!(of("us-east-1", &[specific, ignored]).unwrap(), "https://bedrock-runtime.us-east-1.amazonaws.com");
        let fips = ("AWS_USE_FIPS_ENDPOINT", "true");
        assert_eq!(of("us-gov-west-1", &[fips]).unwrap(), "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com");
        assert_eq!(of("cn-north-1", &[]).unwrap(), "https://bedrock-runtime.cn-north-1.amazonaws.com.cn");
        let dual = ("AWS_USE_DUALSTACK_ENDPOINT", "true");
        assert_eq!(of("eu-west-1", &[dual]).unwrap(), "https://bedrock-runtime.eu-west-1.api.aws");
        for bad in ["ftp://x", "127.0.0.1:9000", "http://x/path", "http://user:secret@x", "http://"] {
            assert!(of("us-east-1", &[("AWS_ENDPOINT_URL", bad)]).is_err(), "{bad}");
        }
    }
}
