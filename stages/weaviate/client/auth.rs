//! Who asks: nobody, somebody with an API key, or somebody with a token of OIDC.

use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use restow_core::{EngineError, ExitClass, Result};
use serde_json::Value;

use super::Fault;

/// Refuses credentials that cannot be taken: an empty key, a token that has expired.
///
/// # Errors
/// See above.
pub fn check(bearer: Option<&str>, name: &str, now: DateTime<Utc>) -> Result<()> {
    let Some(bearer) = bearer else { return Ok(()) };
    if bearer.trim().is_empty() {
        return Err(EngineError::usage(format!("{name}: the key in `api_key` is empty"))
            .with_hint("give the key, or leave `api_key` out for a server that anybody may use; nothing was sent"));
    }
    match expiry(bearer) {
        Some(end) if end <= now => Err(EngineError::failed(format!(
            "{name}: the token of OIDC in `api_key` has expired at {}",
            end.to_rfc3339()
        ))
        .with_hint("get a new one and run the same command again, which goes on where it was; nothing was sent")),
        _ => Ok(()),
    }
}

/// When a token of OIDC says that it ends. API keys are no such tokens.
fn expiry(bearer: &str) -> Option<DateTime<Utc>> {
    let mut parts = bearer.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let claims: Value = serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?).ok()?;
    DateTime::from_timestamp(claims.get("exp")?.as_i64()?, 0)
}

/// Whether the text has the form of a token of OIDC.
fn is_token(bearer: &str) -> bool {
    bearer.starts_with("ey") && bearer.split('.').count() == 3
}

/// The error of the first request that the server refused.
pub fn refused(fault: Fault, bearer: Option<&str>, name: &str) -> EngineError {
    let Fault::Denied(message) = fault else { return fault.about(format!("{name}: connecting")) };
    let (what, hint) = match bearer {
        None => (
            "it lets nobody in without a key, and the connection has no `api_key`",
            "set `api_key` of the connection to an API key or a token of OIDC, as a reference to a secret; nothing was read or written",
        ),
        Some(bearer) if is_token(bearer) => (
            "it does not take the token of OIDC in `api_key`",
            "get a new token, and see that the server trusts who issued it; nothing was read or written",
        ),
        Some(_) => (
            "it does not take the API key in `api_key`",
            "check the key; a server that anybody may use wants none at all; nothing was read or written",
        ),
    };
    EngineError::new(ExitClass::Failed, format!("{name}: access denied: {what}: {message}")).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2ln", BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    #[test]
    fn a_token_that_has_expired_is_not_sent() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("a moment");
        let checked = |bearer: &str| check(Some(bearer), "weaviate http://h", now);
        assert!(checked(&token(r#"{"exp":1700000001}"#)).is_ok());
        let error = checked(&token(r#"{"exp":1699999999}"#)).expect_err("a refusal");
        assert!(error.message().contains("expired at 2023-11-14T22:13:19"), "{error}");
        assert!(checked(&token("{}")).is_ok() && checked("394063a528da1379be").is_ok() && checked("a.b.c").is_ok());
        assert!(checked(" ").expect_err("a refusal").message().contains("empty"));
        assert!(check(None, "weaviate http://h", now).is_ok());
    }

    #[test]
    fn who_is_refused_is_told_why() {
        let of =
            |bearer| refused(Fault::Denied("status 401".to_owned()), bearer, "weaviate http://h").message().to_owned();
        assert!(of(None).contains("has no `api_key`"));
        assert!(of(Some("abc")).contains("API key"));
        assert!(of(Some(&token("{}"))).contains("token of OIDC"));
    }
}
