//! The child's side: reads questions from standard input, writes statements to standard output, ends with its parent.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;

use super::ENTRY_POINT;
use super::answer::answer;
use super::confine::give_up_networks;
use super::engine::Engine;
use super::protocol::{MAX_LINE_BYTES, Question, Statement};

/// Statements that wait to be read by the server.
const WAITING: usize = 256;
/// Questions that are answered at once.
const IN_FLIGHT: usize = 16;
/// How long to wait before the engine is asked again for its events.
const PAUSE: Duration = Duration::from_secs(1);

/// Becomes the attestor, if that is what the program was started for.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<ExitCode> {
    let [_, word, socket] = args else { return None };
    if word != ENTRY_POINT {
        return None;
    }
    Some(run(Path::new(socket)).map_or_else(
        |reason| {
            // Nobody else hears why; without a standard error there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "the attestor ends: {reason}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    ))
}

/// Confines this process and serves until standard input ends.
///
/// # Errors
/// One sentence, when the process cannot be confined or a pipe breaks.
pub fn run(socket: &Path) -> Result<(), String> {
    // Nobody with the same user id may look into this process: it is the one that reaches the engine.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    // From here on, and so in all threads that come after.
    give_up_networks().map_err(|error| error.to_string())?;
    let served = runtime.block_on(serve(socket));
    // A thread may still wait for standard input.
    runtime.shutdown_background();
    served
}

async fn serve(socket: &Path) -> Result<(), String> {
    let engine = Engine::new(socket);
    let (say, statements) = mpsc::channel(WAITING);
    let writing = tokio::spawn(write(statements));
    let reading = read(engine, say);
    tokio::select! {
        read = reading => read,
        written = writing => written.map_err(|error| error.to_string())?,
    }
}

async fn read(engine: Engine, say: mpsc::Sender<Statement>) -> Result<(), String> {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT));
    let mut input = BufReader::new(tokio::io::stdin());
    let mut watched = false;
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
        let read = (&mut input).take(limit).read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(());
        }
        let question: Question = serde_json::from_slice(&line).map_err(|error| format!("not a question: {error}"))?;
        if matches!(question, Question::Watch { .. }) && !std::mem::replace(&mut watched, true) {
            tokio::spawn(watch(engine.clone(), say.clone()));
        }
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let (engine, say) = (engine.clone(), say.clone());
        tokio::spawn(async move {
            let statement = answer(&engine, question).await;
            // Nobody reads any more when the server is gone.
            let _ = say.send(statement).await;
            drop(place);
        });
    }
}

/// Tells of every death, and of every time during which deaths could not be seen.
async fn watch(engine: Engine, say: mpsc::Sender<Statement>) {
    loop {
        let (died, mut deaths) = mpsc::channel(WAITING);
        let watching = engine.watch_deaths(&died);
        let telling = async {
            while let Some(container) = deaths.recv().await {
                if say.send(Statement::Died { container }).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = watching => {}
            () = telling => {}
        }
        if say.send(Statement::Gap).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn write(mut statements: mpsc::Receiver<Statement>) -> Result<(), String> {
    let mut output = tokio::io::stdout();
    while let Some(statement) = statements.recv().await {
        let mut line = serde_json::to_vec(&statement).map_err(|error| error.to_string())?;
        line.push(b'\n');
        if line.len() > MAX_LINE_BYTES {
            // Its asker waits in vain; the talk goes on.
            continue;
        }
        output.write_all(&line).await.map_err(|error| error.to_string())?;
        output.flush().await.map_err(|error| error.to_string())?;
    }
    Ok(())
}
