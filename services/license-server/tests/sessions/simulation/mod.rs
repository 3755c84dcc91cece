//! Many clients, a queue, lost messages, partitions, crashes and clocks that are set, all by the seed alone. The writer, the
//! journal and the disk are the real ones, without their threads.
//!
//! What must hold: at no moment more programs believe in a seat than there are seats; nobody is served before somebody who
//! was in the queue before him; when all have gone, every seat is free again.

mod blocks;
pub(crate) mod program;

use std::time::Duration;

use lictor_clock::ManualClock;
use lictor_key_store::MemorySigner;
use lictor_license_server::domain::ask::Answer;
use lictor_license_server::domain::event::EventFilter;
use lictor_license_server::domain::keeper::Keeper;
use lictor_license_server::listen::Channel;
use lictor_license_server::store::memory_disk::{Fault, MemoryDisk, Unsynced};
use lictor_license_server::writer::{Ledger, Turns};
use program::{Asked, Doing, Program, begin, channels, disks, poll, wish};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::stage::scale;
use crate::stage::vendor::start_of_tests;

const CLIENTS: usize = 8;
const STEPS: usize = 90;
/// What a client may believe after an answer, and after a beat: the server's times less a tenth.
const AFTER_ANSWER: Duration = Duration::from_secs(54);
const AFTER_BEAT: Duration = Duration::from_secs(27);

struct World {
    rng: SmallRng,
    clock: ManualClock,
    disk: MemoryDisk,
    seats: u32,
    turns: Turns,
    ledger: Ledger,
    programs: Vec<Program>,
    joins: u64,
    requests: u64,
    served: u64,
    crashes: u64,
    /// The disk was full at least once. Nobody is served from the queue while it is, so whoever asks just when there is
    /// room again may pass.
    was_full: bool,
    /// Who waited when somebody was served who had not.
    queued_before: Vec<u64>,
}

impl World {
    fn new(seed: u64, disk: &MemoryDisk, seats: u32, channels: &[(Channel, MemorySigner)]) -> Self {
        let disk = disk.copy();
        disk.restart(Unsynced::Kept);
        let clock = ManualClock::new(start_of_tests());
        let (turns, ledger) = begin(&disk, &clock);
        let program = |(channel, key): &(Channel, MemorySigner)| Program {
            channel: channel.clone(),
            ask: wish(key),
            request: 0,
            doing: Doing::Nothing,
            believes: Duration::ZERO,
            cut_off: Duration::ZERO,
        };
        let programs = channels.iter().map(program).collect();
        let rng = SmallRng::seed_from_u64(seed);
        let (joins, requests, served, crashes) = (0, 0, 0, 0);
        Self {
            rng,
            clock,
            disk,
            seats,
            turns,
            ledger,
            programs,
            joins,
            requests,
            served,
            crashes,
            was_full: false,
            queued_before: Vec::new(),
        }
    }

    fn boottime(&self) -> Duration {
        self.clock.shared().boottime()
    }

    /// Lets the writer take its turn; false when it died of it.
    fn turn(&mut self) -> bool {
        let alive = self.turns.turn().is_none();
        if !alive {
            self.crash();
        }
        alive
    }

    /// The power goes, and comes back.
    fn crash(&mut self) {
        self.crashes += 1;
        let unsynced = match self.rng.random_range(0..3) {
            0 => Unsynced::Lost,
            1 => Unsynced::Kept,
            _ => Unsynced::Half,
        };
        self.disk.heal();
        self.disk.restart(unsynced);
        let (turns, ledger) = begin(&self.disk, &self.clock);
        (self.turns, self.ledger) = (turns, ledger);
        for program in &mut self.programs {
            match &mut program.doing {
                // Its stream broke; it comes again, at the end of a new queue.
                Doing::Waits { .. } => program.doing = Doing::Nothing,
                Doing::Holds { stream, .. } => *stream = None,
                Doing::Nothing => {}
            }
        }
        let started = self.ledger.clone();
        let mut started: Asked<_> = Box::pin(async move { started.change(|writer, _| writer.started()).await });
        assert!(poll(&mut started).is_none());
        assert!(self.turns.turn().is_none(), "a whole disk");
    }

    fn fresh_request(&mut self, number: usize) {
        self.requests += 1;
        let request = self.requests;
        let ask = &mut self.programs[number].ask;
        ask.request_id[..8].copy_from_slice(&request.to_be_bytes());
        ask.asked[..8].copy_from_slice(&request.to_be_bytes());
        self.programs[number].request = request;
    }

    /// The places of those who wait, as far as they know them.
    fn queue(&self) -> Vec<u64> {
        let joined = |program: &Program| match &program.doing {
            Doing::Waits { joined, .. } => *joined,
            _ => None,
        };
        self.programs.iter().filter_map(joined).collect()
    }

    /// Sessions that the server has of a program.
    fn sessions_of(&mut self, number: usize) -> usize {
        let (ledger, key) = (self.ledger.clone(), self.programs[number].ask.client_key);
        let look = move |keeper: &Keeper, _| {
            keeper.state.sessions.values().filter(|session| session.client_key == key).count()
        };
        let mut asked: Asked<_> = Box::pin(async move { ledger.read(look).await });
        assert!(poll(&mut asked).is_none());
        // A server that dies of its turn has no answer, and has broken no promise.
        if self.turn() { poll(&mut asked).and_then(Result::ok).unwrap_or(2) } else { 2 }
    }

    /// The sessions that the server knows, for the sentence about a failure.
    fn server_knows(&mut self) -> String {
        let ledger = self.ledger.clone();
        let look = |keeper: &Keeper, _| {
            let sessions = keeper.state.sessions.values();
            sessions.map(|session| format!("{} held {}", session.id, keeper.is_held(session.id))).collect::<Vec<_>>()
        };
        let mut asked: Asked<_> = Box::pin(async move { ledger.read(look).await });
        let _ = poll(&mut asked);
        let _ = self.turns.turn();
        poll(&mut asked).and_then(Result::ok).unwrap_or_default().join(", ")
    }

    /// One call: its message may be lost on the way there, or the answer on the way back.
    fn call<T>(&mut self, number: usize, asked: Asked<T>) -> Option<T> {
        let mut asked = asked;
        if self.programs[number].cut_off > self.boottime() || self.rng.random_bool(0.05) {
            return None;
        }
        assert!(poll(&mut asked).is_none(), "nothing is answered before the writer's turn");
        if !self.turn() || self.rng.random_bool(0.05) {
            return None;
        }
        poll(&mut asked)
    }

    fn step(&mut self) {
        let number = self.rng.random_range(0..CLIENTS);
        match self.rng.random_range(0..100) {
            0..55 => self.act(number),
            55..75 => {
                let span = self.rng.random_range(0..25_000);
                self.clock.advance(Duration::from_millis(span));
            }
            75..85 => {
                if self.turns.tick().is_some() {
                    self.crash();
                }
            }
            85..90 => {
                let span = Duration::from_secs(self.rng.random_range(1..90));
                self.programs[number].cut_off = self.boottime() + span;
            }
            90..93 => self.crash(),
            93..95 => {
                let at = self.rng.random_range(1..12);
                let full = self.rng.random_bool(0.3);
                self.was_full |= full;
                self.disk.fail_at(at, if full { Fault::Full } else { Fault::Crash });
            }
            95..97 => self.disk.heal(),
            _ => {
                let span = Duration::from_secs(self.rng.random_range(0..100_000_000));
                let now = self.clock.shared().now();
                let other = if self.rng.random() { now.saturating_add(span) } else { now.saturating_sub(span) };
                self.clock.set_now(other);
            }
        }
        self.hear();
        // Whoever was served in the same turn has heard of it by now.
        let (before, waiting) = (std::mem::take(&mut self.queued_before), self.queue());
        let passed: Vec<_> = before.iter().filter(|joined| waiting.contains(joined)).collect();
        assert!(passed.is_empty(), "somebody who did not wait has passed {passed:?}");
        self.check();
    }

    /// What a program does next.
    fn act(&mut self, number: usize) {
        let now = self.boottime();
        match std::mem::replace(&mut self.programs[number].doing, Doing::Nothing) {
            Doing::Nothing => self.ask(number),
            Doing::Waits { visit, joined } => {
                if self.rng.random_bool(0.85) {
                    self.programs[number].doing = Doing::Waits { visit, joined };
                } else {
                    // It dies, or loses patience.
                    drop(visit);
                    self.turn();
                }
            }
            Doing::Holds { session, stream } => {
                if self.programs[number].believes < now {
                    // Its own clock says that the seat may be another's by now.
                    return;
                }
                let (ledger, channel) = (self.ledger.clone(), self.programs[number].channel.clone());
                match self.rng.random_range(0..10) {
                    0..4 => {
                        let call = Box::pin(async move { ledger.revalidate(session, channel).await });
                        let answer = self.call(number, call);
                        match answer {
                            Some(Ok(true)) => self.believe(number, now + AFTER_ANSWER),
                            Some(Ok(false)) => {
                                // Not there any more: nothing to believe in.
                                self.programs[number].believes = Duration::ZERO;
                                return;
                            }
                            _ => {}
                        }
                        self.programs[number].doing = Doing::Holds { session, stream };
                    }
                    4..7 => {
                        let call = Box::pin(async move { ledger.attach(session, channel).await });
                        let stream = match self.call(number, call) {
                            Some(Ok(Some(held))) => {
                                self.believe(number, now + AFTER_BEAT);
                                Some(held)
                            }
                            _ => stream,
                        };
                        self.programs[number].doing = Doing::Holds { session, stream };
                    }
                    7 => {
                        // Its stream breaks; the server hears of it sooner or later, or with the next crash.
                        drop(stream);
                        self.turn();
                        self.programs[number].doing = Doing::Holds { session, stream: None };
                    }
                    _ => {
                        self.programs[number].believes = Duration::ZERO;
                        let call = Box::pin(async move { ledger.release(session, channel).await });
                        let _ = self.call(number, call);
                    }
                }
            }
        }
    }

    fn believe(&mut self, number: usize, until: Duration) {
        let program = &mut self.programs[number];
        program.believes = program.believes.max(until);
    }

    fn ask(&mut self, number: usize) {
        let now = self.boottime();
        // A lost answer is asked for again under the same name; most wishes are new ones.
        let fresh = self.programs[number].request == 0 || self.rng.random_bool(0.7);
        if fresh {
            self.fresh_request(number);
        }
        let (ledger, ask) = (self.ledger.clone(), self.programs[number].ask.clone());
        if self.rng.random_bool(0.6) {
            if self.programs[number].cut_off > now {
                return;
            }
            let span = Duration::from_secs(self.rng.random_range(1..120));
            if let Ok(visit) = ledger.wait(ask, span)
                && self.turn()
            {
                self.programs[number].doing = Doing::Waits { visit, joined: None };
            }
            return;
        }
        let queue = self.queue();
        let answer = self.call(number, Box::pin(async move { ledger.acquire(ask).await }));
        if let Some(Ok(Answer::Granted(given))) = answer {
            self.served += 1;
            // Whoever has a seat already passes nobody: neither by asking for it again, nor by another session of it.
            let takes_none = !fresh || self.sessions_of(number) > 1;
            if !takes_none && !self.was_full {
                self.queued_before = queue;
            }
            self.programs[number].doing = Doing::Holds { session: given.session.id, stream: None };
            self.believe(number, now + AFTER_ANSWER);
        }
    }

    /// Programs hear what their streams say.
    fn hear(&mut self) {
        let now = self.boottime();
        let mut granted = Vec::new();
        for number in 0..CLIENTS {
            let program = &mut self.programs[number];
            let cut_off = program.cut_off > now;
            match &mut program.doing {
                Doing::Waits { visit, joined } => {
                    if joined.is_none() && visit.standing.borrow().is_some() {
                        self.joins += 1;
                        *joined = Some(self.joins);
                    }
                    let place = *joined;
                    match visit.answer.try_recv() {
                        Ok(Ok(Answer::Granted(given))) => granted.push((number, place, given.session.id)),
                        Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {}
                        // Refused, or the same wish on another stream, or the disk is full.
                        _ => program.doing = Doing::Nothing,
                    }
                }
                Doing::Holds { stream: Some(stream), .. } => {
                    let open = Err(tokio::sync::oneshot::error::TryRecvError::Empty);
                    if stream.attached.end.try_recv().map(drop) != open {
                        program.doing = Doing::Nothing;
                        program.believes = Duration::ZERO;
                    } else if !cut_off {
                        // The last beat is at most ten seconds old.
                        program.believes =
                            program.believes.max(now.saturating_sub(Duration::from_secs(10)) + AFTER_BEAT);
                    }
                }
                _ => {}
            }
        }
        // Several may be served in one turn; those who still wait are behind all of them.
        for (number, place, _) in &granted {
            self.served += 1;
            let Some(place) = place else { continue };
            let still: Vec<u64> = (0..CLIENTS)
                .filter(|other| other != number && !granted.iter().any(|(served, ..)| served == other))
                .filter_map(|other| match &self.programs[other].doing {
                    Doing::Waits { joined, .. } => *joined,
                    _ => None,
                })
                .collect();
            assert!(still.iter().all(|joined| joined > place), "{place} was served before {still:?}");
        }
        for (number, _, session) in granted {
            self.programs[number].doing = Doing::Nothing;
            // The program counts from a call of its own: nobody knows how long the grant was on its way.
            let (ledger, channel) = (self.ledger.clone(), self.programs[number].channel.clone());
            let answer = self.call(number, Box::pin(async move { ledger.revalidate(session, channel).await }));
            if matches!(answer, Some(Ok(true))) {
                self.programs[number].doing = Doing::Holds { session, stream: None };
                self.believe(number, now + AFTER_ANSWER);
            }
        }
    }

    /// What must hold at every moment.
    fn check(&mut self) {
        let now = self.boottime();
        let believers = self
            .programs
            .iter()
            .filter(|program| matches!(program.doing, Doing::Holds { .. }) && program.believes >= now)
            .count();
        if believers > self.seats as usize {
            let held = self.server_knows();
            for (number, program) in self.programs.iter().enumerate() {
                if let Doing::Holds { session, stream } = &program.doing {
                    let left = program.believes.saturating_sub(now);
                    eprintln!("program {number} believes in {session} for {left:?}, by stream: {}", stream.is_some());
                }
            }
            for event in self.ledger.events().newest(14, &EventFilter::default()) {
                eprintln!("{} {} {} {}", event.at, event.name, event.session_id, event.reason);
            }
            panic!("{believers} programs believe in {} seats; the server knows {held}", self.seats);
        }
    }

    /// All programs are gone: every seat comes free, whatever was lost.
    fn end(&mut self) {
        self.disk.heal();
        for program in &mut self.programs {
            // Dead connections are noticed in the end.
            program.doing = Doing::Nothing;
        }
        for _ in 0..2 {
            if self.turns.turn().is_some() || self.turns.tick().is_some() {
                self.crash();
            }
            self.clock.advance(Duration::from_secs(70));
        }
        let _ = self.turns.tick();
        for number in 0..self.seats as usize {
            self.fresh_request(number);
            let (ledger, ask) = (self.ledger.clone(), self.programs[number].ask.clone());
            let mut asked: Asked<_> = Box::pin(async move { ledger.acquire(ask).await });
            assert!(poll(&mut asked).is_none());
            assert!(self.turns.turn().is_none(), "a whole disk");
            let answer = poll(&mut asked).expect("an answer");
            assert!(matches!(answer, Ok(Answer::Granted(_))), "seat {number} of {} is lost: {answer:?}", self.seats);
        }
    }
}

// Without a runtime: that of tokio lets a task have only so many answers at once.
#[test]
fn no_seat_is_given_twice_or_lost_and_nobody_is_passed_whatever_happens() {
    let channels = channels();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let disks = runtime.block_on(disks());
    let (mut served, mut crashes) = (0, 0);
    let only = std::env::var("LICTOR_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seeds = only.map_or(0..1_000 * scale(), |seed: u64| seed..seed + 1);
    for seed in seeds.clone() {
        let (seats, disk) = &disks[usize::try_from(seed % 3).expect("small")];
        let telling = Telling(seed);
        let mut world = World::new(seed, disk, *seats, &channels);
        for _ in 0..STEPS {
            world.step();
        }
        world.end();
        served += world.served;
        crashes += world.crashes;
        std::mem::forget(telling);
    }
    println!("{} seeds: {served} seats taken, {crashes} crashes", seeds.count());
    assert!(only.is_some() || (served > 1_000 && crashes > 500), "the simulation does something");
}

/// Names the seed of a run that fails.
struct Telling(u64);

impl Drop for Telling {
    fn drop(&mut self) {
        eprintln!("run it again with LICTOR_TEST_SEED={}", self.0);
    }
}
