//! From the contract's words for a way to a way that was checked, and what may be shown of it.

use lictor_api::notification::v1 as wire;
use reqwest::header::HeaderName;
use tonic::metadata::AsciiMetadataValue;

use super::{
    email::{self, EmailWay},
    file::FileWay,
    names::{PlainName, PlainNameError},
    sap::{FieldSource, SapCredentials, SapWay},
    transmitter::TransmitterWay,
};
use crate::domain::{
    allow::AllowList,
    target::{Target, TargetError},
};

/// Most fields of an entity, and codes of duplicates.
const FIELDS: usize = 64;
const CODES: usize = 16;
/// Most bytes of a field's name, an entity set's name, a code.
const WORD_BYTES: usize = 128;
/// Most bytes of a user, password or token.
const CREDENTIAL_BYTES: usize = 4 * 1024;
/// What an entity holds when nothing else is said.
const USUAL_FIELDS: [(&str, &str); 5] =
    [("OrderId", "order"), ("Item", "item"), ("LicenseId", "license"), ("State", "state"), ("EventId", "event_id")];
const USUAL_KEY_HEADER: HeaderName = HeaderName::from_static("requestid");
const USUAL_PREFIX: &str = "Lictor";
/// Headers that say who we are or that belong to the exchange itself.
const TAKEN_HEADERS: [&str; 10] = [
    "authorization",
    "cookie",
    "content-type",
    "content-length",
    "host",
    "accept",
    "connection",
    "transfer-encoding",
    "x-csrf-token",
    "traceparent",
];

/// The operator's own program, or a gRPC Transmitter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomWay {
    /// A program of the operator's folder.
    Executable(PlainName),
    /// A Transmitter.
    Transmitter(TransmitterWay),
}

/// Why a way cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WayError {
    /// The address.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The name of a file or program.
    #[error(transparent)]
    Name(#[from] PlainNameError),
    /// Something else, in a sentence.
    #[error("{0}")]
    Other(String),
}

fn other<T>(why: impl Into<String>) -> Result<T, WayError> {
    Err(WayError::Other(why.into()))
}

/// An address that somebody wants, or one that was checked when it was stored.
fn target(text: &str, allow: Option<&AllowList>) -> Result<Target, TargetError> {
    match allow {
        Some(allow) => Target::new(text, allow),
        None => Target::stored(text),
    }
}

/// Reads a way to SAP; `allow` is nothing for one that was checked when it was stored.
///
/// # Errors
/// What is wrong with it.
pub fn sap(wire: &wire::SapTransmission, allow: Option<&AllowList>) -> Result<SapWay, WayError> {
    let target = target(&wire.url, allow)?;
    if target.url().query().is_some() {
        return other("the URL of an OData service has no query");
    }
    let word = |text: &str| {
        (1..=WORD_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !text.as_bytes()[0].is_ascii_digit()
    };
    if !word(&wire.entity_set) {
        return other("the entity set is a name of letters, digits and underscores, such as LicenseSet");
    }
    if wire.fields.len() > FIELDS || wire.duplicate_codes.len() > CODES {
        return other("an entity has at most 64 fields, and at most 16 codes say that it is there already");
    }
    let mut fields = Vec::new();
    for (field, source) in &wire.fields {
        match FieldSource::read(source) {
            Some(source) if word(field) => fields.push((field.clone(), source)),
            Some(_) => return other(format!("{field:?} is no name of a field")),
            None => {
                return other(format!("{source:?} is neither a known name nor a JSON pointer such as /data/order_id"));
            }
        }
    }
    if fields.is_empty() {
        let usual =
            USUAL_FIELDS.iter().filter_map(|(field, name)| Some(((*field).to_owned(), FieldSource::read(name)?)));
        fields.extend(usual);
    }
    fields.sort_by(|one, two| one.0.cmp(&two.0));
    let key_header = match wire.key_header.as_str() {
        "" => USUAL_KEY_HEADER,
        name => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if name.as_str().len() <= WORD_BYTES && !TAKEN_HEADERS.contains(&name.as_str()) => name,
            _ => return other(format!("{name:?} cannot be the header of the event's id")),
        },
    };
    if wire.duplicate_codes.iter().any(|code| code.is_empty() || code.len() > WORD_BYTES) {
        return other("a code of an error has 1 to 128 bytes");
    }
    Ok(SapWay {
        target,
        entity_set: wire.entity_set.clone(),
        fields,
        key_header,
        duplicate_codes: wire.duplicate_codes.clone(),
        credentials: credentials(wire)?,
    })
}

fn credentials(wire: &wire::SapTransmission) -> Result<SapCredentials, WayError> {
    let all = [&wire.user, &wire.password, &wire.token];
    if all.iter().any(|one| one.len() > CREDENTIAL_BYTES || one.chars().any(char::is_control)) {
        return other("user, password and token are single lines of at most 4 KiB");
    }
    match (wire.user.is_empty(), wire.password.is_empty(), wire.token.is_empty()) {
        (true, true, true) => Ok(SapCredentials::None),
        (false, _, true) if wire.user.contains(':') => other("a user's name has no colon"),
        (false, _, true) => Ok(SapCredentials::Basic { user: wire.user.clone(), password: wire.password.clone() }),
        (true, true, false) if wire.token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(SapCredentials::Bearer(wire.token.clone()))
        }
        _ => other("give a user with a password, or a bearer token, not both"),
    }
}

/// Reads a way of the operator's own.
///
/// # Errors
/// What is wrong with it.
pub fn custom(wire: &wire::CustomTransmission, allow: Option<&AllowList>) -> Result<CustomWay, WayError> {
    if !wire.target.contains("://") {
        if !wire.token.is_empty() {
            return other("a program needs no token");
        }
        return Ok(CustomWay::Executable(wire.target.parse()?));
    }
    let target = target(&wire.target, allow)?;
    if target.url().path() != "/" || target.url().query().is_some() {
        return other("the URL of a Transmitter is https://HOST:PORT without a path");
    }
    let token = match wire.token.as_str() {
        "" => None,
        token => {
            let value = AsciiMetadataValue::try_from(format!("Bearer {token}"));
            match value {
                Ok(mut value) if token.len() <= CREDENTIAL_BYTES => {
                    value.set_sensitive(true);
                    Some(value)
                }
                _ => return other("the token is one line of at most 4 KiB"),
            }
        }
    };
    Ok(CustomWay::Transmitter(TransmitterWay { target, token }))
}

/// Reads mail as a way.
///
/// # Errors
/// What is wrong with it.
pub fn email(wire: &wire::EmailTransmission) -> Result<EmailWay, WayError> {
    if !(1..=email::RECEIVERS).contains(&wire.to.len()) {
        return other("a mail has 1 to 16 receivers");
    }
    let to = wire.to.iter().map(|one| one.parse().map_err(|error| WayError::Other(format!("{one:?}: {error}"))));
    let to = to.collect::<Result<_, _>>()?;
    let prefix = wire.subject_prefix.as_str();
    if prefix.len() > email::PREFIX_BYTES || prefix.chars().any(char::is_control) {
        return other("the prefix of subjects is one line of at most 64 bytes");
    }
    let subject_prefix = if prefix.is_empty() { USUAL_PREFIX } else { prefix };
    Ok(EmailWay { to, subject_prefix: subject_prefix.to_owned() })
}

/// Reads a file as a way.
///
/// # Errors
/// What is wrong with its name.
pub fn file(wire: &wire::FileTransmission) -> Result<FileWay, WayError> {
    Ok(FileWay { name: wire.name.parse()? })
}

/// A way without its credentials, for lists.
pub fn without_credentials(mut transmission: wire::Transmission) -> wire::Transmission {
    use wire::transmission::Kind;
    match &mut transmission.kind {
        Some(Kind::Sap(sap)) => {
            // The user's name helps; what proves him does not leave.
            sap.password.clear();
            sap.token.clear();
        }
        Some(Kind::Custom(custom)) => custom.token.clear(),
        Some(Kind::Webhook(_) | Kind::Email(_) | Kind::File(_)) | None => {}
    }
    transmission
}

/// Fills what a change leaves out with what was there: credentials are shown to nobody, so nobody can repeat them.
/// They stay only with the place that they were given for: a password never follows a URL to another server.
pub fn keep_credentials(changed: &mut wire::Transmission, before: &wire::Transmission) {
    use wire::transmission::Kind;
    match (&mut changed.kind, &before.kind) {
        (Some(Kind::Sap(new)), Some(Kind::Sap(old)))
            if new.password.is_empty()
                && new.token.is_empty()
                && same_place(&new.url, &old.url)
                && (new.user.is_empty() || new.user == old.user) =>
        {
            new.user.clone_from(&old.user);
            new.password.clone_from(&old.password);
            new.token.clone_from(&old.token);
        }
        (Some(Kind::Custom(new)), Some(Kind::Custom(old)))
            if new.token.is_empty() && same_place(&new.target, &old.target) =>
        {
            new.token.clone_from(&old.token);
        }
        _ => {}
    }
}

fn same_place(one: &str, two: &str) -> bool {
    match (Target::stored(one), Target::stored(two)) {
        (Ok(one), Ok(two)) => one.url().origin() == two.url().origin(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> wire::SapTransmission {
        wire::SapTransmission {
            url: "https://erp.example.com/sap/opu/odata/sap/ZLIC_SRV".to_owned(),
            entity_set: "LicenseSet".to_owned(),
            user: "LICTOR".to_owned(),
            password: "s3cret".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn slips_in_a_way_to_sap_are_refused() {
        let nothing = AllowList::default();
        assert!(sap(&good(), Some(&nothing)).is_ok());
        for bad in [
            wire::SapTransmission { url: "https://10.0.0.1/x".to_owned(), ..good() },
            wire::SapTransmission { url: "https://erp.example.com/x?sap-client=100".to_owned(), ..good() },
            wire::SapTransmission { entity_set: "../admin".to_owned(), ..good() },
            wire::SapTransmission { entity_set: "Set(1)".to_owned(), ..good() },
            wire::SapTransmission { entity_set: String::new(), ..good() },
            wire::SapTransmission { fields: [("A b".to_owned(), "order".to_owned())].into(), ..good() },
            wire::SapTransmission { fields: [("A".to_owned(), "nonsense".to_owned())].into(), ..good() },
            wire::SapTransmission { key_header: "Cookie".to_owned(), ..good() },
            wire::SapTransmission { key_header: "a\r\nb".to_owned(), ..good() },
            wire::SapTransmission { token: "both".to_owned(), ..good() },
            wire::SapTransmission { user: "a:b".to_owned(), ..good() },
            wire::SapTransmission { password: "a\nb".to_owned(), ..good() },
        ] {
            assert!(sap(&bad, Some(&nothing)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_program_is_a_name_and_a_transmitter_an_address() {
        let nothing = AllowList::default();
        let read = |target: &str| {
            custom(&wire::CustomTransmission { target: target.to_owned(), token: String::new() }, Some(&nothing))
        };
        assert!(matches!(read("to-erp"), Ok(CustomWay::Executable(_))));
        assert!(matches!(read("https://erp.example.com:7443"), Ok(CustomWay::Transmitter(_))));
        for bad in
            ["/bin/sh", "../x", "", "https://127.0.0.1:7443", "http://erp.example.com", "https://a.b/path", "sh -c"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_are_not_shown_and_stay_with_their_place_only() {
        let of = |sap| wire::Transmission { kind: Some(wire::transmission::Kind::Sap(sap)) };
        let shown = without_credentials(of(good()));
        assert!(!format!("{shown:?}").contains("s3cret"));
        let mut same = shown.clone();
        keep_credentials(&mut same, &of(good()));
        assert_eq!(same, of(good()));
        let elsewhere =
            wire::SapTransmission { url: "https://evil.example.com/".to_owned(), password: String::new(), ..good() };
        let mut moved = of(elsewhere);
        keep_credentials(&mut moved, &of(good()));
        assert!(!format!("{moved:?}").contains("s3cret"), "a password does not follow to another server");
    }

    #[test]
    fn mail_has_receivers_that_are_addresses() {
        let read = |to: &[&str]| {
            email(&wire::EmailTransmission {
                to: to.iter().map(|one| (*one).to_owned()).collect(),
                subject_prefix: String::new(),
            })
        };
        assert_eq!(read(&["a@example.com"]).expect("a way").subject_prefix, "Lictor");
        assert!(read(&[]).is_err());
        assert!(read(&["a@example.com"; 17]).is_err());
        assert!(read(&["a@example.com\r\nBcc: b@example.com"]).is_err());
    }
}
