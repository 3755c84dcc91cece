//! Where a destination is: a URL that was checked once, at the edge.

use std::{fmt, net::IpAddr};

use reqwest::Url;

use super::allow::AllowList;

/// Most bytes of a URL.
pub const URL_BYTES: usize = 2_048;

/// A webhook's address: https, or http where the operator allows it; no user, no password, no fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Url);

/// Why a text is no address of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Longer than [`URL_BYTES`].
    #[error("the URL is longer than 2 KiB")]
    TooLong,
    /// Not an absolute http or https URL.
    #[error("this is no absolute https URL with a host")]
    Malformed,
    /// Credentials in a URL end up in logs and lists.
    #[error("the URL carries a user or password")]
    Credentials,
    /// The part after `#` never reaches a server.
    #[error("the URL has a fragment, which no receiver would see")]
    Fragment,
    /// http to a host that the operator did not open.
    #[error("plain http is only allowed to hosts that the operator opened")]
    PlainHttp,
    /// A literal address on the closed list.
    #[error("this address is not on the public internet and the operator did not open it")]
    Closed,
}

impl Target {
    /// Checks a URL that somebody wants to have as a destination.
    pub fn new(text: &str, allow: &AllowList) -> Result<Self, TargetError> {
        let target = Self::stored(text)?;
        target.check(allow)?;
        Ok(target)
    }

    /// Reads a URL that was checked when it was stored. [`Target::check`] comes before each call, because the operator
    /// may have changed the allow-list since.
    pub fn stored(text: &str) -> Result<Self, TargetError> {
        if text.len() > URL_BYTES {
            return Err(TargetError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| TargetError::Malformed)?;
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
            return Err(TargetError::Malformed);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(TargetError::Fragment);
        }
        Ok(Self(url))
    }

    /// What can be said before any name is looked up: the scheme, and a literal address.
    pub fn check(&self, allow: &AllowList) -> Result<(), TargetError> {
        if self.0.scheme() != "https" && !allow.opens_plain_http(self.host()) {
            return Err(TargetError::PlainHttp);
        }
        // The parser has already turned forms such as 0x7f.1 or 2130706433 into four numbers.
        if let Some(literal) = self.literal()
            && !allow.opens(self.host(), literal)
        {
            return Err(TargetError::Closed);
        }
        Ok(())
    }

    /// The URL for the HTTP client.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The host as written in the URL; an IPv6 address with its brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    fn literal(&self) -> Option<IpAddr> {
        let host = self.host();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        bare.parse().ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths and queries of webhooks often hold a secret.
        write!(f, "Target({}://{}/…)", self.0.scheme(), self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_a_host_is_taken_by_default() {
        let nothing = AllowList::default();
        assert!(Target::new("https://hooks.example.com/in?tenant=7", &nothing).is_ok());
        for (url, why) in [
            ("http://hooks.example.com/", TargetError::PlainHttp),
            ("ftp://hooks.example.com/", TargetError::Malformed),
            ("file:///etc/passwd", TargetError::Malformed),
            ("https://", TargetError::Malformed),
            ("hooks.example.com", TargetError::Malformed),
            ("https://user@hooks.example.com/", TargetError::Credentials),
            ("https://:word@hooks.example.com/", TargetError::Credentials),
            ("https://hooks.example.com/#part", TargetError::Fragment),
            ("https://127.0.0.1/", TargetError::Closed),
            ("https://[::1]/", TargetError::Closed),
            ("https://[::ffff:7f00:1]/", TargetError::Closed),
            ("https://0x7f.1/", TargetError::Closed),
            ("https://2130706433/", TargetError::Closed),
            ("https://0177.0.0.1/", TargetError::Closed),
            ("https://169.254.169.254/latest/meta-data", TargetError::Closed),
        ] {
            assert_eq!(Target::new(url, &nothing).err(), Some(why), "{url}");
        }
        let long = format!("https://hooks.example.com/{}", "a".repeat(URL_BYTES));
        assert_eq!(Target::new(&long, &nothing).err(), Some(TargetError::TooLong));
    }

    #[test]
    fn allowed_block_opens_plain_http() {
        let allow: AllowList = "127.0.0.0/8".parse().expect("a list");
        assert!(Target::new("http://127.0.0.1:8080/hook", &allow).is_ok());
        assert_eq!(Target::new("http://10.0.0.1/hook", &allow).err(), Some(TargetError::PlainHttp));
    }

    #[test]
    fn debug_form_hides_the_path() {
        let target = Target::stored("https://hooks.example.com/s3cret?key=word").expect("a target");
        assert_eq!(format!("{target:?}"), "Target(https://hooks.example.com/…)");
    }
}
