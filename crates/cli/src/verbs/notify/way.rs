//! Flags that say how a destination is reached.

use std::path::PathBuf;

use clap::Args;
use lictor_api::notification::v1::{
    CustomTransmission, EmailTransmission, FileTransmission, SapTransmission, Transmission, WebhookTransmission,
    transmission::Kind,
};

use crate::failure::{Failure, Outcome};
use crate::files;

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Way {
    /// Webhook: https:// address; http:// only where the operator allows the host
    #[arg(long, value_name = "URL", group = "way")]
    url: Option<String>,

    /// SAP: root of an OData service
    #[arg(long, value_name = "URL", group = "way", requires = "entity_set")]
    sap: Option<String>,

    /// SAP: the entity set that gets one entity per delivery
    #[arg(long, value_name = "NAME", requires = "sap")]
    entity_set: Option<String>,

    /// SAP: a field of the entity and where its value stands, such as OrderNo=order; may be given more than once
    #[arg(long = "field", value_name = "FIELD=SOURCE", requires = "sap")]
    fields: Vec<String>,

    /// SAP: user, with a password in --credential-file
    #[arg(long, value_name = "NAME", requires = "sap")]
    user: Option<String>,

    /// Custom: a program of the operator's folder, or https:// address of a gRPC Transmitter
    #[arg(long, value_name = "TARGET", group = "way")]
    custom: Option<String>,

    /// File with the password of --user, or else with a bearer token, for SAP and Transmitters
    #[arg(long, value_name = "FILE")]
    credential_file: Option<PathBuf>,

    /// E-mail: a receiver; may be given more than once
    #[arg(long = "email", value_name = "ADDRESS", group = "way")]
    emails: Vec<String>,

    /// File: name of a file of JSON lines in the operator's folder
    #[arg(long, value_name = "NAME", group = "way")]
    file: Option<String>,
}

impl Way {
    /// The way that was given, if any.
    pub(super) fn given(self) -> Outcome<Option<Transmission>> {
        let credential = match &self.credential_file {
            None => String::new(),
            Some(path) => String::from_utf8(files::read(path)?)
                .map_err(|_| Failure::usage("the credential is no text", "put one line into the file"))?
                .trim()
                .to_owned(),
        };
        let kind = if let Some(url) = self.url {
            Kind::Webhook(WebhookTransmission { url })
        } else if let Some(url) = self.sap {
            let fields = self.fields.iter().map(|field| {
                let (name, source) = field
                    .split_once('=')
                    .ok_or_else(|| Failure::usage(format!("{field:?} is no field"), "write it like OrderNo=order"))?;
                Ok((name.to_owned(), source.to_owned()))
            });
            let (password, token) =
                if self.user.is_some() { (credential, String::new()) } else { (String::new(), credential) };
            Kind::Sap(SapTransmission {
                url,
                entity_set: self.entity_set.unwrap_or_default(),
                fields: fields.collect::<Outcome<_>>()?,
                user: self.user.unwrap_or_default(),
                password,
                token,
                ..SapTransmission::default()
            })
        } else if let Some(target) = self.custom {
            Kind::Custom(CustomTransmission { target, token: credential })
        } else if !self.emails.is_empty() {
            Kind::Email(EmailTransmission { to: self.emails, ..EmailTransmission::default() })
        } else if let Some(name) = self.file {
            Kind::File(FileTransmission { name })
        } else {
            return Ok(None);
        };
        Ok(Some(Transmission { kind: Some(kind) }))
    }
}
