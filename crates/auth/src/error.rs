//! Why a token is not accepted. Outside hears little of it, the log hears all.

/// A refused token, or a key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not a JWT, too long, or a claim that is missing or of the wrong type.
    #[error("the token is malformed: {0}")]
    Malformed(String),
    /// No configured issuer made it.
    #[error("the token's issuer is not trusted")]
    UnknownIssuer,
    /// The issuer has no such key.
    #[error("the token names a key that its issuer does not have")]
    UnknownKey,
    /// The signature or the algorithm is wrong.
    #[error("the token's signature does not fit")]
    Signature,
    /// Made for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet")]
    NotYet,
    /// The issuer's keys cannot be fetched; not the caller's fault.
    #[error("the keys of the token's issuer cannot be fetched")]
    KeysUnavailable,
    /// A key file cannot be read or written.
    #[error("{0}")]
    KeyFile(String),
}
