//! Mail over SMTP: to the one server that the operator named, over TLS unless he allows plain text.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Attachment, Mailbox, MultiPart, SinglePart, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};
use lictor_clock::Timestamp;
use lictor_runtime::StartError;
use reqwest::Url;

use crate::domain::outcome::AttemptResult;

/// Why nothing is mailed.
pub const CLOSED: &str = "the operator named no mail server; next: set LICTOR_SMTP_URL and LICTOR_SMTP_FROM";
/// Longest subject; what is beyond is cut.
const SUBJECT_CHARACTERS: usize = 200;

/// The operator's mail server: `smtps://HOST[:465]` for TLS from the first byte, `smtp://HOST[:587]` for STARTTLS, which
/// is then required, `smtp+plain://HOST[:25]` for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpServer {
    host: String,
    port: u16,
    security: Security,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    Tls,
    StartTls,
    Plain,
}

/// A text that names no mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mail server is smtps://HOST, smtp://HOST (with STARTTLS) or smtp+plain://HOST, with :PORT if need be")]
pub struct SmtpServerError;

impl FromStr for SmtpServer {
    type Err = SmtpServerError;

    fn from_str(text: &str) -> Result<Self, SmtpServerError> {
        let url = Url::parse(text).map_err(|_| SmtpServerError)?;
        let (security, port) = match url.scheme() {
            "smtps" => (Security::Tls, 465),
            "smtp" => (Security::StartTls, 587),
            "smtp+plain" => (Security::Plain, 25),
            _ => return Err(SmtpServerError),
        };
        let alone = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        match url.host_str() {
            Some(host) if alone && nobody && !host.is_empty() => {
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok(Self { host, port: url.port().unwrap_or(port), security })
            }
            _ => Err(SmtpServerError),
        }
    }
}

/// An address of mail without a display name.
#[derive(Clone, PartialEq, Eq)]
pub struct MailAddress(Address);

/// A text that is no address of mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no address of mail such as licenses@example.com")]
pub struct MailAddressError;

impl FromStr for MailAddress {
    type Err = MailAddressError;

    fn from_str(text: &str) -> Result<Self, MailAddressError> {
        let plain = text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain {
            return Err(MailAddressError);
        }
        text.parse().map(Self).map_err(|_| MailAddressError)
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailAddress({self})")
    }
}

/// Addresses with commas between, as in settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailAddresses(pub Vec<MailAddress>);

impl FromStr for MailAddresses {
    type Err = MailAddressError;

    fn from_str(text: &str) -> Result<Self, MailAddressError> {
        let some = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        some.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// What the operator set.
#[derive(Clone)]
pub struct MailOptions {
    /// The server.
    pub server: SmtpServer,
    /// Name and password there.
    pub credentials: Option<(String, String)>,
    /// Who the mail is from.
    pub from: MailAddress,
    /// PEM text of a further certificate authority.
    pub extra_ca: Option<String>,
    /// Longest time of one mail.
    pub deadline: Duration,
}

impl fmt::Debug for MailOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailOptions").field("server", &self.server).field("from", &self.from).finish_non_exhaustive()
    }
}

/// A mail to be sent.
#[derive(Debug, Clone)]
pub struct Mail {
    /// What makes a repetition recognisable: the part of `Message-ID` before the `@`. Letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// Who gets it.
    pub to: Vec<MailAddress>,
    /// The subject; line breaks and control characters do not survive.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
    /// Name, media type, content.
    pub attachment: Option<(String, &'static str, Vec<u8>)>,
}

/// Why a mail did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct MailError {
    /// The class for the record.
    pub class: AttemptResult,
    /// The server's code; 0 without one.
    pub code: u16,
    /// What happened.
    pub text: String,
}

impl MailError {
    fn new(class: AttemptResult, text: impl ToString) -> Self {
        Self { class, code: 0, text: text.to_string() }
    }
}

/// Sends mail. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailer(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    options: MailOptions,
}

impl Mailer {
    /// A mailer; without options every mail fails and says why.
    ///
    /// # Errors
    /// `Settings` when the certificate authority cannot be read.
    pub fn new(options: Option<MailOptions>) -> Result<Self, StartError> {
        let Some(options) = options else {
            return Ok(Self(None));
        };
        let server = &options.server;
        let tls = match server.security {
            Security::Tls => Tls::Wrapper(tls(&options)?),
            Security::StartTls => Tls::Required(tls(&options)?),
            Security::Plain => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .tls(tls)
            .hello_name(ClientId::Domain(options.from.0.domain().to_owned()))
            .timeout(Some(options.deadline));
        if let Some((user, password)) = options.credentials.clone() {
            builder = builder.credentials(Credentials::new(user, password));
        }
        let transport = builder.build();
        Ok(Self(Some(Arc::new(Inner { transport, options }))))
    }

    /// True when the operator named a server.
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Sends one mail; gives the server's answer.
    ///
    /// # Errors
    /// Why the server did not take it, or may not have.
    pub async fn send(&self, mail: &Mail, now: Timestamp) -> Result<(u16, String), MailError> {
        let Some(inner) = &self.0 else {
            return Err(MailError::new(AttemptResult::Failed, CLOSED));
        };
        let message = message(mail, &inner.options, now)?;
        // The transport's own limit is per command; this one is for all of them.
        match tokio::time::timeout(inner.options.deadline, inner.transport.send(message)).await {
            Ok(Ok(answer)) => {
                let lines: Vec<&str> = answer.message().collect();
                Ok((answer.code().into(), lines.join(" ")))
            }
            Ok(Err(error)) => Err(of_error(&error)),
            Err(_) => Err(MailError::new(AttemptResult::Timeout, "the mail server did not end within the deadline")),
        }
    }
}

fn tls(options: &MailOptions) -> Result<TlsParameters, StartError> {
    let failed = |error| StartError::failed("TLS to the mail server cannot be set up", error);
    let mut builder =
        TlsParameters::builder(options.server.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
    if let Some(pem) = &options.extra_ca {
        let certificate = Certificate::from_pem(pem.as_bytes())
            .map_err(|_| StartError::settings("the certificate authority of the mail server is no PEM certificate"))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(failed)
}

fn message(mail: &Mail, options: &MailOptions, now: Timestamp) -> Result<Message, MailError> {
    let malformed = |error: lettre::error::Error| MailError::new(AttemptResult::Failed, error);
    let seconds = u64::try_from(now.as_seconds()).unwrap_or_default();
    let mut builder = Message::builder()
        .from(Mailbox::new(Some("Lictor".to_owned()), options.from.0.clone()))
        .message_id(Some(format!("<{}@{}>", mail.id, options.from.0.domain())))
        .date(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
        .subject(one_line(&mail.subject));
    for to in &mail.to {
        builder = builder.to(Mailbox::new(None, to.0.clone()));
    }
    let text = SinglePart::plain(mail.text.clone());
    let body = match &mail.html {
        Some(html) => MultiPart::mixed()
            .multipart(MultiPart::alternative().singlepart(text).singlepart(SinglePart::html(html.clone()))),
        None => MultiPart::mixed().singlepart(text),
    };
    let body = match &mail.attachment {
        Some((name, kind, content)) => {
            let kind = ContentType::parse(kind).map_err(|error| MailError::new(AttemptResult::Failed, error))?;
            body.singlepart(Attachment::new(name.clone()).body(content.clone(), kind))
        }
        None => body,
    };
    builder.multipart(body).map_err(malformed)
}

/// A subject as one line: nothing in it can begin another header.
fn one_line(text: &str) -> String {
    text.chars().take(SUBJECT_CHARACTERS).map(|one| if one.is_control() { ' ' } else { one }).collect()
}

fn of_error(error: &lettre::transport::smtp::Error) -> MailError {
    let code = error.status().map_or(0, u16::from);
    let class = if error.is_timeout() {
        AttemptResult::Timeout
    } else if error.is_tls() {
        AttemptResult::Tls
    } else if code > 0 {
        AttemptResult::Refused
    } else {
        of_cause(error)
    };
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = if code > 0 { error.to_string() } else { format!("the mail server could not be used: {last}") };
    MailError { class, code, text }
}

fn of_cause(error: &lettre::transport::smtp::Error) -> AttemptResult {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.is::<rustls::Error>() {
            return AttemptResult::Tls;
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                return AttemptResult::Tls;
            }
            return match io.kind() {
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => AttemptResult::Truncated,
                _ => AttemptResult::Connect,
            };
        }
        next = cause.source();
    }
    AttemptResult::Protocol
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> MailOptions {
        MailOptions {
            server: "smtp+plain://127.0.0.1:2525".parse().expect("a server"),
            credentials: None,
            from: "lictor@example.com".parse().expect("an address"),
            extra_ca: None,
            deadline: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_hostile_subject_begins_no_header() {
        let mail = Mail {
            id: "evt_1.dst_1".to_owned(),
            to: vec!["a@example.com".parse().expect("an address")],
            subject: "x\r\nBcc: evil@example.com\r\n\r\nbody".to_owned(),
            text: "hello\r\n.\r\nQUIT\r\n".to_owned(),
            html: None,
            attachment: Some(("a\r\nb\".json".to_owned(), "application/json", b"{}".to_vec())),
        };
        let message = message(&mail, &options(), Timestamp::from_seconds(1_800_000_000)).expect("a message");
        let text = String::from_utf8_lossy(&message.formatted()).into_owned();
        let (head, _) = text.split_once("\r\n\r\n").expect("a head");
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(head.contains("Message-ID: <evt_1.dst_1@example.com>"), "{head}");
        assert!(!text.contains("\r\nb\".json"), "{text}");
    }

    #[test]
    fn addresses_that_smuggle_are_refused() {
        for bad in ["", "a", "a@", "a@b\r\nBcc: c@d", "a@b, c@d", "<a@b>", "a b@c.d", "a@b>\nRCPT TO:<c@d"] {
            assert!(bad.parse::<MailAddress>().is_err(), "{bad:?}");
        }
        assert!("licenses+orders@example.com".parse::<MailAddress>().is_ok());
    }

    #[test]
    fn servers_say_how_they_are_secured() {
        let read = |text: &str| text.parse::<SmtpServer>().map(|server| (server.host, server.port, server.security));
        assert_eq!(read("smtps://mail.example"), Ok(("mail.example".to_owned(), 465, Security::Tls)));
        assert_eq!(read("smtp://mail.example"), Ok(("mail.example".to_owned(), 587, Security::StartTls)));
        assert_eq!(read("smtp+plain://[::1]:2525"), Ok(("::1".to_owned(), 2525, Security::Plain)));
        for bad in ["mail.example", "http://mail", "smtp://u:p@mail", "smtp://mail/x", "smtp://", "smtp://mail?x=1"] {
            assert_eq!(read(bad), Err(SmtpServerError), "{bad}");
        }
    }
}
