//! `lictor demo`: the main job from start to end in a fresh folder, told and checked step by step. Everything is done by
//! this very program as child processes, the way a vendor and a customer would do it at their terminals.

mod narrator;
mod program;
mod receiver;
mod story;
mod work;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use lictor_cli::{Extra, Frame};
use lictor_clock::{Clock, SystemClock};
use lictor_licensing::error::{ErrorCode, Problem};
use tokio::signal::unix::{SignalKind, signal};

use narrator::{Broken, Narrator, Story, line};
use world::World;

pub(crate) use work::work_verb;

/// Play the main job from start to end, step by step, and check every step
///
/// Sells licenses, activates them online and by files, takes seats, pushes updates, withdraws a license, kills the services in
/// the middle, keeps the back office informed by signed webhooks, and tries bad input. Needs no other server, no Docker and
/// no root. The exit code is 0 only if every step held.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor demo
  lictor demo --keep /tmp/lictor-demo --verbose")]
struct Demo {
    /// Use this folder, which must be empty or new, and keep it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// Show every verb and its answer
    #[arg(long)]
    verbose: bool,
}

/// The verb, for the program.
pub(crate) fn verb() -> Extra {
    Extra { command: Demo::augment_args(Command::new("demo")), run: |matches, frame| run(matches, frame) }
}

fn run(matches: &ArgMatches, frame: Frame) -> ExitCode {
    let demo = match Demo::from_arg_matches(matches) {
        Ok(demo) => demo,
        Err(error) => return frame.failed(Problem::new(ErrorCode::InvalidArgument, error.to_string(), "see --help")),
    };
    // One thread: children are started by it and live no longer than it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let what = format!("the demo cannot start: {error}");
            return frame.failed(Problem::new(ErrorCode::Internal, what, "check the limits of this user"));
        }
    };
    let played = runtime.block_on(async {
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return Err(Broken::new("signals cannot be listened to"));
        };
        // Whichever way this ends, the story is dropped here, and with it every child.
        tokio::select! {
            played = play(&demo) => played,
            _ = terminate.recv() => Err(Broken::new("stopped from outside")),
            _ = interrupt.recv() => Err(Broken::new("stopped from outside")),
        }
    });
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            line(&format!("\nnot held: {broken}"));
            ExitCode::FAILURE
        }
    }
}

async fn play(demo: &Demo) -> Story {
    let clock = SystemClock;
    let began = clock.boottime();
    let cannot = |error: std::io::Error| Broken::new(format!("the demo's folder cannot be used: {error}"));
    // Dropped after the world, so that it is removed only when nobody writes into it any more.
    let mut scratch = None;
    let folder = match &demo.keep {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(cannot)?;
            if std::fs::read_dir(folder).map_err(cannot)?.next().is_some() {
                return Err(Broken::new(format!("{} is not empty; name a new folder with --keep", folder.display())));
            }
            folder.canonicalize().map_err(cannot)?
        }
        None => {
            scratch.insert(tempfile::Builder::new().prefix("lictor-demo-").tempdir().map_err(cannot)?).path().to_owned()
        }
    };
    line("One license, carried all the way: from the order to the seat, and every step to the back office.");
    line(&format!("folder: {}{}", folder.display(), if demo.keep.is_some() { "" } else { " (removed at the end)" }));
    let mut world = World::new(folder, Narrator::new(demo.verbose)).await?;
    story::play(&mut world).await?;
    let webhooks = world.receiver.received().len();
    world.close().await?;
    let took = clock.boottime().saturating_sub(began);
    line(&format!(
        "\nheld: all {} steps, {} checks, {webhooks} webhooks with good signatures, nothing lost; {:.1} s",
        world.narrator.steps(),
        world.narrator.checks(),
        took.as_secs_f64()
    ));
    drop(world);
    drop(scratch);
    Ok(())
}
