//! Where a server is: the addresses of REST and gRPC, as a pipeline file or the command line writes them.

use restow_spec::catalogue::Problem;
use url::Url;

/// The port of gRPC where the connection names none.
const GRPC_PORT: u16 = 50_051;
/// The port of REST of `weaviate://` addresses that name none.
const REST_PORT: u16 = 8080;

/// Where the two interfaces are, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// `http://host:port`, without a slash at the end.
    pub rest: String,
    /// `http://host:port`.
    pub grpc: String,
}

/// Every address of a url with commas: `scheme://one,two`.
pub(super) fn addresses_of(url: &str, grpc: Option<&str>) -> Result<Vec<Address>, Problem> {
    let (scheme, hosts) = url.split_once("://").unwrap_or_default();
    let urls: Vec<String> = if hosts.contains(',') {
        hosts
            .split(',')
            .map(|host| if host.contains("://") { host.to_owned() } else { format!("{scheme}://{host}") })
            .collect()
    } else {
        vec![url.to_owned()]
    };
    let grpcs: Vec<Option<&str>> = match grpc {
        Some(grpc) => grpc.split(',').map(Some).collect(),
        None => vec![None; urls.len()],
    };
    if grpcs.len() != urls.len() {
        let message = format!("`url` has {} addresses, and `grpc` has {}", urls.len(), grpcs.len());
        return Err(Problem::new("/grpc", message).with_help("name one for each, in the same order, or none"));
    }
    let mut addresses: Vec<Address> = Vec::new();
    for (url, grpc) in urls.iter().zip(grpcs) {
        let address = address_of(url.trim(), grpc.map(str::trim))?;
        if let Some(same) = addresses.iter().find(|one| one.rest == address.rest) {
            return Err(Problem::new("/url", format!("{} is named twice", same.rest)));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn address_of(url: &str, grpc: Option<&str>) -> Result<Address, Problem> {
    let example = "for example http://localhost:8080, or weaviate://localhost:8080";
    let wrong = |what: &str| Problem::new("/url", format!("{url:?} {what}")).with_help(example);
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("is no address"))?;
    let (scheme, port) = match scheme {
        "weaviate" => ("http", Some(REST_PORT)),
        "http" | "https" => (scheme, None),
        "weaviates" => ("https", None),
        _ => return Err(wrong("is no address of Weaviate")),
    };
    let mut parsed =
        Url::parse(&format!("{scheme}://{rest}")).map_err(|error| wrong(&format!("is no address: {error}")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong("holds a user or a password: use `api_key`"));
    }
    if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(wrong("goes on after the port"));
    }
    if let (Some(port), None) = (port, parsed.port()) {
        // `http://host:80` parses without a port: then the user wrote it.
        if !rest.trim_end_matches('/').ends_with(":80") {
            let _ = parsed.set_port(Some(port));
        }
    }
    let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?;
    let grpc = match grpc {
        None => format!("{scheme}://{host}:{GRPC_PORT}"),
        Some(grpc) if grpc.contains("://") => grpc.trim_end_matches('/').to_owned(),
        Some(grpc) => format!("{scheme}://{grpc}"),
    };
    let fits = Url::parse(&grpc).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    if !fits {
        return Err(Problem::new("/grpc", format!("{grpc:?} is no address")).with_help("for example localhost:50051"));
    }
    Ok(Address { rest: parsed.as_str().trim_end_matches('/').to_owned(), grpc })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let of = |url: &str, grpc: Option<&str>| address_of(url, grpc).map(|address| (address.rest, address.grpc));
        let ok = |rest: &str, grpc: &str| Ok((rest.to_owned(), grpc.to_owned()));
        assert_eq!(of("http://h:8080", None), ok("http://h:8080", "http://h:50051"));
        assert_eq!(of("weaviate://h", None), ok("http://h:8080", "http://h:50051"));
        assert_eq!(of("weaviate://h:80/", Some("g:1")), ok("http://h", "http://g:1"));
        assert_eq!(of("https://h/", Some("h:443")), ok("https://h", "https://h:443"));
        assert_eq!(of("https://h", Some("http://g:2")), ok("https://h", "http://g:2"));
        assert_eq!(of("weaviate://[::1]:9", None), ok("http://[::1]:9", "http://[::1]:50051"));
        for wrong in ["h:8080", "ftp://h", "http://u:p@h", "http://h/v1", "http://h?x", "http://"] {
            assert!(of(wrong, None).is_err(), "{wrong}");
        }
        assert!(of("http://h", Some("")).is_err());
    }

    #[test]
    fn several_addresses() {
        let of = |url: &str, grpc: Option<&str>| {
            let found = addresses_of(url, grpc).map_err(|problem| problem.message);
            found.map(|all| all.into_iter().map(|one| format!("{} {}", one.rest, one.grpc)).collect::<Vec<_>>())
        };
        let both = Ok(vec!["http://a:8080 http://a:50051".to_owned(), "http://b:81 http://b:50051".to_owned()]);
        assert_eq!(of("weaviate://a,b:81", None), both);
        assert_eq!(of("weaviate://a:8080, http://b:81/", None), both);
        let named = Ok(vec!["https://a https://a:1".to_owned(), "https://b https://b:2".to_owned()]);
        assert_eq!(of("https://a,b", Some("a:1,b:2")), named);
        assert_eq!(of("http://a", None), Ok(vec!["http://a http://a:50051".to_owned()]));
        for (url, grpc) in [
            ("http://a,a", None),
            ("http://a,b", Some("a:1")),
            ("http://a", Some("a:1,b:1")),
            ("http://a,", None),
            (",", None),
        ] {
            assert!(of(url, grpc).is_err(), "{url}");
        }
    }
}
