//! The five services: settings, start, end.

use std::future::Future;
use std::pin::Pin;

use lictor_auth::AuthSettings;
use lictor_broker::Broker;
use lictor_clock::SharedClock;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_runtime::{Addresses, Reader, Running, StartError};

use super::folder::{AUDIENCE, Folder, Keys};
use super::ports::Ports;

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Central,
    Activation,
    Update,
    Notification,
    Server,
}

impl Part {
    /// All of them, in the order of [`Part::NAMES`].
    pub(super) const ALL: [Self; 5] = [Self::Central, Self::Activation, Self::Update, Self::Notification, Self::Server];

    /// Their names.
    pub(super) const NAMES: [&'static str; 5] =
        ["license-central", "activation", "push-update-generator", "notification-dispatcher", "license-server"];

    pub(super) const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The ports that its own program takes, gRPC and HTTP.
    pub(super) const fn usual_ports(self) -> [u16; 2] {
        match self {
            Self::Central => [7010, 7011],
            Self::Activation => [7020, 7021],
            Self::Update => [7030, 7031],
            Self::Notification => [7080, 7081],
            Self::Server => [22350, 22352],
        }
    }

    /// Those named, or all; whoever is asked by others starts before them, so that nobody complains of a silence.
    pub(super) fn chosen(names: &[String]) -> Vec<Self> {
        let order = [Self::Central, Self::Update, Self::Activation, Self::Notification, Self::Server];
        order.into_iter().filter(|part| names.is_empty() || names.iter().any(|name| name == part.name())).collect()
    }
}

/// What is set here and must not come from the environment.
const SET_HERE: &[&str] = &["DATABASE_", "GRPC_", "HTTP_", "AMQP_", "REDIS_", "TLS_", "AUTH_", "SERVICE_"];

/// The environment without what is set here.
pub(super) fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !SET_HERE.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

/// Services that run.
pub(super) struct Started {
    running: Vec<(Part, Running)>,
}

impl Started {
    /// Where each of them listens.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Part, Addresses)> {
        self.running.iter().map(|(part, running)| (*part, running.addresses()))
    }

    /// Waits until one of them ends by itself, which none should.
    pub(super) async fn any_end(&self) -> Problem {
        let mut waiting: Vec<Pin<Box<dyn Future<Output = Problem> + Send + '_>>> = Vec::new();
        for (part, running) in &self.running {
            waiting.push(Box::pin(async move {
                let why = match running.wait().await {
                    Ok(()) => "it was stopped".to_owned(),
                    Err(error) => error.to_string(),
                };
                Problem::new(
                    ErrorCode::Internal,
                    format!("{} ended by itself: {why}", part.name()),
                    "start again; the log above says more",
                )
            }));
        }
        std::future::poll_fn(move |context| {
            for future in &mut waiting {
                if let std::task::Poll::Ready(problem) = future.as_mut().poll(context) {
                    return std::task::Poll::Ready(problem);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Stops all of them, in the opposite order of their start.
    pub(super) async fn stop(&self) {
        for (_, running) in &self.running {
            running.shutdown();
        }
        for (part, running) in self.running.iter().rev() {
            if let Err(error) = running.wait().await {
                tracing::warn!(service = part.name(), %error, "a service did not stop well");
            }
        }
    }
}

/// What all settings are made from.
struct Surroundings<'a> {
    folder: &'a Folder,
    ports: &'a Ports,
    auth: AuthSettings,
    broker: Broker,
}

impl Surroundings<'_> {
    /// Settings of one service: the environment, and over it what is set here.
    fn settings<S>(
        &self,
        part: Part,
        pairs: &[(&str, String)],
        read: impl FnOnce(&mut Reader) -> S,
    ) -> Result<S, StartError> {
        let mut all = environment();
        let mut set = vec![
            ("GRPC_LISTEN", self.ports.grpc(part).to_string()),
            ("HTTP_LISTEN", self.ports.http(part).to_string()),
            ("DATABASE_URL", self.folder.database(part.name())),
        ];
        set.extend(pairs.iter().cloned());
        all.retain(|(name, _)| !set.iter().any(|(here, _)| here == name));
        all.extend(set.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let mut reader = Reader::new(all, None);
        let settings = read(&mut reader);
        reader.finish().map_err(|error| StartError::settings(format!("{}: {error}", part.name())))?;
        Ok(settings)
    }

    fn url(&self, part: Part) -> String {
        format!("http://{}", self.ports.grpc(part))
    }

    fn path(&self, name: &str) -> String {
        self.folder.file(name).display().to_string()
    }
}

/// Starts the parts one after the other; when one cannot start, those before it are stopped.
pub(super) async fn start(
    parts: &[Part],
    folder: &Folder,
    ports: &Ports,
    keys: &Keys,
    clock: &SharedClock,
) -> Result<Started, StartError> {
    let around =
        Surroundings { folder, ports, auth: AuthSettings::local(&keys.issuer, AUDIENCE), broker: Broker::in_process() };
    let mut started = Started { running: Vec::new() };
    for part in parts {
        match start_one(*part, &around, clock).await {
            Ok(running) => started.running.push((*part, running)),
            Err(error) => {
                started.stop().await;
                return Err(error);
            }
        }
    }
    Ok(started)
}

async fn start_one(part: Part, around: &Surroundings<'_>, clock: &SharedClock) -> Result<Running, StartError> {
    let (auth, broker, clock) = (around.auth.clone(), around.broker.clone(), clock.clone());
    let held = around.ports.held();
    match part {
        Part::Central => {
            let pairs = [("LICTOR_TICKET_KEY_PATH", around.path("ticket.key"))];
            let mut settings = around.settings(part, &pairs, lictor_license_central::Settings::read)?;
            (settings.auth, settings.broker, settings.listen.held) = (auth, broker, held);
            lictor_license_central::start(settings, clock).await
        }
        Part::Activation => {
            let pairs = [("CENTRAL_URL", around.url(Part::Central)), ("UPDATE_URL", around.url(Part::Update))];
            let mut settings = around.settings(part, &pairs, lictor_activation::Settings::read)?;
            (settings.auth, settings.broker, settings.listen.held) = (auth, broker, held);
            lictor_activation::start(settings, clock).await
        }
        Part::Update => {
            let pairs = [
                ("ARCHIVE_URL", around.folder.database("archive")),
                ("LICTOR_KEYS_DIR", around.path("firm-keys")),
                ("LICTOR_ALLOW_KEYS_IN_FILES", "true".to_owned()),
                // Read because it must be given; the broker of this process takes its place.
                ("AMQP_URL", "amqp://127.0.0.1:1".to_owned()),
            ];
            let mut settings = around.settings(part, &pairs, lictor_push_update_generator::Settings::read)?;
            (settings.auth, settings.broker, settings.listen.held) = (auth, broker, held);
            lictor_push_update_generator::start(settings, clock).await
        }
        Part::Notification => {
            let producers = [Part::Central, Part::Activation, Part::Update]
                .map(|part| format!("{}={}", part.name(), around.url(part)))
                .join(",");
            let pairs =
                [("LICTOR_PRODUCERS", producers), ("LICTOR_DESTINATION_KEY_PATH", around.path("destination.key"))];
            let mut settings = around.settings(part, &pairs, lictor_notification_dispatcher::Settings::read)?;
            (settings.auth, settings.broker, settings.listen.held) = (auth, Some(broker), held);
            lictor_notification_dispatcher::start(settings, clock).await
        }
        Part::Server => {
            let pairs = [("LICTOR_STATE_DIR", around.path("license-server"))];
            let mut settings = around.settings(part, &pairs, lictor_license_server::Settings::read)?;
            settings.listen.held = held;
            lictor_license_server::start(settings, clock).await
        }
    }
}
