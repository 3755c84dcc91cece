//! Channels to the four services of the vendor's side.

use std::time::Duration;

use lictor_licensing::error::ErrorCode;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::{CONNECT_TIME, Caller, is_transport};
use crate::config::Settings;
use crate::failure::{Failure, Outcome};
use crate::files;

/// A service of the vendor's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Central,
    Activation,
    Update,
    Notification,
}

impl Service {
    /// The process's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Central => "license-central",
            Self::Activation => "activation",
            Self::Update => "push-update-generator",
            Self::Notification => "notification-dispatcher",
        }
    }

    const fn flag(self) -> &'static str {
        match self {
            Self::Central => "--central",
            Self::Activation => "--activation",
            Self::Update => "--update",
            Self::Notification => "--notification",
        }
    }

    pub(crate) fn address(self, settings: &Settings) -> Option<&str> {
        let address = &settings.address;
        match self {
            Self::Central => address.central.as_deref(),
            Self::Activation => address.activation.as_deref(),
            Self::Update => address.update.as_deref(),
            Self::Notification => address.notification.as_deref(),
        }
    }
}

/// A way to one service; connects when first used.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    service: Service,
    address: String,
    channel: Channel,
    caller: Caller,
}

impl Link {
    pub(crate) fn open(service: Service, settings: &Settings) -> Outcome<Self> {
        let flag = service.flag();
        let address = service.address(settings).ok_or_else(|| {
            Failure::usage(
                format!("the address of {} is not known", service.name()),
                format!("give {flag}, or name the client.toml that `lictor up` wrote with --config or LICTOR_CONFIG"),
            )
        })?;
        let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let malformed = || {
            Failure::usage(
                format!("{address} is no address of a service"),
                format!("write {flag} as http://host:port or https://host:port"),
            )
        };
        let mut endpoint = Endpoint::from_shared(address.clone())
            .map_err(|_| malformed())?
            .connect_timeout(CONNECT_TIME)
            .timeout(Duration::from_secs(settings.timeout));
        match endpoint.uri().scheme_str() {
            Some("http") => {}
            Some("https") => endpoint = endpoint.tls_config(tls(settings)?).map_err(|_| malformed())?,
            _ => return Err(malformed()),
        }
        let caller = Caller::new(settings.token.as_deref()).ok_or_else(|| {
            Failure::usage("the token contains characters that no token has", "check LICTOR_TOKEN or the token file")
        })?;
        Ok(Self { service, address, channel: endpoint.connect_lazy(), caller })
    }

    /// What generated clients are built on.
    pub(crate) fn channel(&self) -> InterceptedService<Channel, Caller> {
        InterceptedService::new(self.channel.clone(), self.caller.clone())
    }

    /// What a failed call means for people.
    pub(crate) fn failed(&self, status: Status) -> Failure {
        let (name, flag) = (self.service.name(), self.service.flag());
        if is_transport(&status) {
            return Failure::new(
                ErrorCode::Unavailable,
                format!("{name} at {} does not answer", self.address),
                format!("check that it runs and that {flag} names it"),
            );
        }
        let mut problem = lictor_api::error::problem(&status);
        if problem.code == ErrorCode::Unauthenticated && self.caller.authorization.is_none() {
            "no token was given".clone_into(&mut problem.message);
            "set LICTOR_TOKEN or --token-file, or name a client.toml that holds one".clone_into(&mut problem.next);
        }
        if problem.message.is_empty() {
            problem.message = format!("{name} answered {} without a reason", problem.code);
        }
        problem.into()
    }

    /// An answer that lacks what it must have.
    pub(crate) fn incomplete(&self) -> Failure {
        Failure::local(
            format!("the answer of {} is incomplete", self.service.name()),
            "check that the program and the service have the same version",
        )
    }
}

fn tls(settings: &Settings) -> Outcome<ClientTlsConfig> {
    Ok(match &settings.ca {
        Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(files::read(path)?)),
        None => ClientTlsConfig::new().trust_anchors(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    })
}
