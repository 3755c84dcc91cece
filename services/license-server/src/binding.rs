//! What ties the server to its place: the attestor beside it, the surroundings that its keys are sealed to, and the watch over
//! both for as long as it runs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lictor_clock::{SharedClock, Timestamp};
use lictor_licensing::binding::ContainerKind;
use lictor_runtime::{Lifecycle, StartError};
use tokio::sync::mpsc;

use crate::attestor::confine::give_up_unix_sockets;
use crate::attestor::{Attestor, Peers, Told};
use crate::settings::Settings;
use crate::store::keys::Secrets;
use crate::store::{Disk as _, FolderDisk, kept};
use crate::surroundings::guard::{Guard, Patience};
use crate::surroundings::{Surroundings, SurroundingsError};
use crate::writer::Ledger;

/// The attestor, when there is one, and what it tells.
pub(crate) struct Beside {
    attestor: Option<Attestor>,
    told: Option<mpsc::Receiver<Told>>,
}

impl Beside {
    /// Starts the attestor, if the settings name an engine. It has to be there before this process gives up what the attestor
    /// needs, and before anybody can talk to this process.
    pub(crate) fn start(settings: &Settings) -> Result<Self, StartError> {
        let Some(socket) = settings.engine_socket() else { return Ok(Self { attestor: None, told: None }) };
        let failed = |error: io::Error| StartError::failed("the attestor cannot be started", error);
        let program = match &settings.attestor_program {
            Some(program) => program.clone(),
            None if settings.confine => std::env::current_exe().map_err(failed)?,
            // Another program runs the server beside other things: it cannot give up the engine, nor become the attestor.
            None => {
                return Err(StartError::settings(
                    "a licence server that asks the container engine has to be a program of its own; next: leave out \
                     LICTOR_BINDING and LICTOR_ENGINE_SOCKET here, or run license-server by itself or in its image",
                ));
            }
        };
        let (attestor, told) = Attestor::start(&program, &socket).map_err(failed)?;
        Ok(Self { attestor: Some(attestor), told: Some(told) })
    }

    /// Looks around. The folder is locked already, so nobody else writes into it.
    pub(crate) async fn look(&self, settings: &Settings, clock: &SharedClock) -> Result<Surroundings, StartError> {
        let path = &settings.state_dir;
        let unusable = |error: io::Error| {
            StartError::failed(format!("the state folder {} cannot be opened", path.display()), error)
        };
        let disk = FolderDisk::open(path).map_err(unusable)?;
        let is_new = match disk.read(kept::FILE) {
            // Another kind is said before anything is looked at that only this kind needs.
            Ok(keys) => kept::check_kind(&keys, settings.binding).map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => return Err(unusable(error)),
        };
        let is_new = is_new.map_err(|error| StartError::failed(error.to_string(), error))?;
        let here = if settings.binding == ContainerKind::Token {
            ask_token(settings.token_socket.clone().unwrap_or_default(), is_new, clock.now()).await?
        } else {
            let (attestor, root) = (self.attestor.as_ref(), &settings.host_root);
            Surroundings::look(settings.binding, path, is_new, root, attestor, clock.now()).await
        };
        let here = here.map_err(|error| StartError::failed(error.to_string(), error))?;
        if let Some(reason) = &here.silent_engine {
            tracing::warn!(reason, "the container engine does not answer; it is waited for");
        }
        Ok(here)
    }

    /// Which container a peer's address belongs to.
    pub(crate) fn peers(&self, clock: &SharedClock) -> Peers {
        Peers::new(self.attestor.clone(), Arc::clone(clock))
    }

    /// Gives up what only the attestor needs from now on. Nothing may open a Unix socket or start a program afterwards.
    pub(crate) fn confine(&self, settings: &Settings) -> Result<(), StartError> {
        // The agent of a token is reached over a Unix socket each time anew.
        if self.attestor.is_none() || !settings.confine || settings.binding == ContainerKind::Token {
            return Ok(());
        }
        give_up_unix_sockets().map_err(|error| StartError::failed(error.to_string(), error))
    }

    /// Frees the seats of containers that end, and watches over the binding, until the server stops. Gives what people should
    /// know meanwhile.
    pub(crate) async fn attend(
        self,
        settings: &Settings,
        here: Surroundings,
        secrets: &Secrets,
        ledger: &Ledger,
        peers: Peers,
        lifecycle: &Lifecycle,
    ) -> Guard {
        let remark = secrets.remark.clone();
        let Self { attestor, told } = self;
        let guard = match (&attestor, settings.binding) {
            (Some(_), ContainerKind::Volume) => Guard::new(remark, Patience::OF_ENGINE),
            _ => Guard::new(remark, Patience::NONE),
        };
        if let (Some(attestor), Some(told)) = (attestor.clone(), told) {
            let deaths = free_seats(attestor, told, peers, ledger.clone());
            spawn(lifecycle, "containers", deaths);
        }
        if let Some(token) = here.token.clone() {
            spawn(lifecycle, "token", guard.clone().watch_token(token, ledger.clone()));
        }
        if here.silent_engine.is_some() {
            guard.begin_without_engine(&settings.state_dir, &secrets.state_key, ledger).await;
        }
        if let (Some(attestor), ContainerKind::Volume) = (attestor, settings.binding) {
            let watch = guard.clone().watch_engine(
                attestor,
                here,
                (settings.state_dir.clone(), settings.host_root.clone()),
                secrets.state_key.clone(),
                ledger.clone(),
            );
            spawn(lifecycle, "binding", watch);
        }
        guard
    }
}

/// Asks for the token's key. An agent may start together with this server, or be busy with a token that was just put back.
async fn ask_token(
    socket: PathBuf,
    is_new: bool,
    at: Timestamp,
) -> Result<Result<Surroundings, SurroundingsError>, StartError> {
    let mut tries = 1;
    loop {
        let socket = socket.clone();
        let asked = tokio::task::spawn_blocking(move || Surroundings::of_token(&socket, is_new, at)).await;
        let asked =
            asked.map_err(|error| StartError::failed("the token could not be asked; next: start again", error))?;
        if asked.is_ok() || tries == TOKEN_TRIES {
            return Ok(asked);
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// How often a token is asked for before a start is given up.
const TOKEN_TRIES: u32 = 4;

fn spawn(lifecycle: &Lifecycle, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let soft = lifecycle.soft();
    lifecycle.spawn(name, async move {
        soft.run_until_cancelled_owned(task).await;
        Ok::<(), io::Error>(())
    });
}

/// How long until an engine is asked again whether it tells of deaths.
const PAUSE: Duration = Duration::from_secs(2);

/// A container that ended holds no seats. While the engine is away their reconnect grace does the same, later.
async fn free_seats(attestor: Attestor, mut told: mpsc::Receiver<Told>, peers: Peers, ledger: Ledger) {
    // The child goes on asking by itself once it was told to watch.
    while attestor.watch().await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    while let Some(told) = told.recv().await {
        peers.take_note(&told);
        if let Told::Died(container) = told {
            let freed = ledger.change(move |writer, moment| {
                writer.container_ended(&container, moment);
                Ok(())
            });
            if freed.await.is_err() {
                return;
            }
        }
    }
    tracing::warn!("the attestor has ended; containers are known no more until the licence server is started again");
    std::future::pending().await
}
