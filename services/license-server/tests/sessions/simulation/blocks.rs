//! A network server, sidecars that borrow from it, and programs at all of them: messages that are lost, doubled and late,
//! partitions, crashes with every kind of loss, full disks, and clocks of different speed, all by the seed alone. Writers,
//! journals and disks are the real ones.
//!
//! What must hold: at no moment more programs believe in a seat than the licence has; when all have gone, every seat is free.

use std::time::Duration;

use lictor_clock::ManualClock;
use lictor_key_store::MemorySigner;
use lictor_license_server::domain::ask::{Answer, Ask};
use lictor_license_server::domain::blocks::{Answered, BlockId, Borrowing, Question, Terms, Wish};
use lictor_license_server::domain::keeper::Keeper;
use lictor_license_server::listen::Channel;
use lictor_license_server::settings::SessionTimes;
use lictor_license_server::store::memory_disk::{Fault, MemoryDisk, Unsynced};
use lictor_license_server::writer::{Held, Ledger, Lending, Turns, Writer};
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::SessionId;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::program::{Asked, begin_with, channels, disks, poll, wish};
use super::{AFTER_ANSWER, AFTER_BEAT, CLIENTS, Telling};
use crate::stage::scale;
use crate::stage::vendor::start_of_tests;

/// The lender is node 0.
const NODES: usize = 4;
const STEPS: usize = 220;

fn times() -> SessionTimes {
    SessionTimes { block_time: Duration::from_secs(200), ..SessionTimes::default() }
}

struct Node {
    disk: MemoryDisk,
    clock: ManualClock,
    /// Of its clock, in thousandths of the true time.
    speed: u32,
    turns: Turns,
    ledger: Ledger,
    cut_off: bool,
}

struct Program {
    node: usize,
    channel: Channel,
    ask: Ask,
    session: Option<SessionId>,
    stream: Option<Held>,
    /// By the clock of its machine.
    believes: Duration,
}

#[derive(Clone)]
enum Message {
    Ask(usize, Question),
    Reply(usize, BlockId, Option<Answered>),
}

struct World {
    rng: SmallRng,
    nodes: Vec<Node>,
    programs: Vec<Program>,
    keys: Vec<Ask>,
    network: Vec<(u64, Message)>,
    /// True time in milliseconds.
    now: u64,
    seats: usize,
    requests: u64,
    served: u64,
    borrowed: u64,
    crashes: u64,
}

impl Node {
    fn new(disk: &MemoryDisk, speed: u32) -> Self {
        let disk = disk.copy();
        disk.restart(Unsynced::Kept);
        let clock = ManualClock::new(start_of_tests());
        let (turns, ledger) = begin_with(&disk, &clock, times());
        let mut node = Self { disk, clock, speed, turns, ledger, cut_off: false };
        node.started();
        node
    }

    fn now(&self) -> Duration {
        self.clock.shared().boottime()
    }

    fn started(&mut self) {
        let ledger = self.ledger.clone();
        let mut started: Asked<_> = Box::pin(async move { ledger.change(|writer, _| writer.started()).await });
        assert!(poll(&mut started).is_none());
        assert!(self.turns.turn().is_none(), "a whole disk");
    }

    /// Asks the writer, and lets it take its turn; nothing when it died of it.
    fn ask<T: 'static>(&mut self, asked: Asked<T>) -> Option<T> {
        let mut asked = asked;
        assert!(poll(&mut asked).is_none(), "nothing is answered before the writer's turn");
        if self.turns.turn().is_some() { None } else { poll(&mut asked) }
    }

    fn change<T: Send + 'static>(
        &mut self,
        change: impl FnOnce(&mut Writer, lictor_license_server::domain::ask::Moment) -> Result<T, Problem> + Send + 'static,
    ) -> Option<Result<T, Problem>> {
        let ledger = self.ledger.clone();
        self.ask(Box::pin(async move { ledger.change(change).await }))
    }
}

impl World {
    fn new(seed: u64, lender: &(u32, MemoryDisk), empty: &[MemoryDisk], clients: &[(Channel, MemorySigner)]) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut speed = || rng.random_range(960..1_040);
        let mut nodes = vec![Node::new(&lender.1, speed())];
        nodes.extend(empty.iter().take(NODES - 1).map(|disk| Node::new(disk, speed())));
        let program = |(number, (channel, key)): (usize, &(Channel, MemorySigner))| Program {
            node: number % NODES,
            channel: channel.clone(),
            ask: wish(key),
            session: None,
            stream: None,
            believes: Duration::ZERO,
        };
        let programs = clients.iter().enumerate().map(program).collect();
        // Any key will do for a server: what it proves is checked where connections are.
        let keys = clients.iter().map(|(_, key)| wish(key)).collect();
        let seats = usize::try_from(lender.0).expect("few");
        let (requests, served, borrowed, crashes) = (0, 0, 0, 0);
        Self { rng, nodes, programs, keys, network: Vec::new(), now: 0, seats, requests, served, borrowed, crashes }
    }

    fn crash(&mut self, number: usize) {
        self.crashes += 1;
        let unsynced = match self.rng.random_range(0..3) {
            0 => Unsynced::Lost,
            1 => Unsynced::Kept,
            _ => Unsynced::Half,
        };
        let node = &mut self.nodes[number];
        node.disk.heal();
        node.disk.restart(unsynced);
        (node.turns, node.ledger) = begin_with(&node.disk, &node.clock, times());
        node.started();
        self.programs.iter_mut().filter(|program| program.node == number).for_each(|program| program.stream = None);
    }

    /// Does something at a node; a node that dies of it starts again.
    fn at<T>(&mut self, number: usize, work: impl FnOnce(&mut Node) -> Option<T>) -> Option<T> {
        let done = work(&mut self.nodes[number]);
        if done.is_none() {
            self.crash(number);
        }
        done
    }

    fn send(&mut self, host: usize, message: Message) {
        if self.nodes[host].cut_off || self.nodes[0].cut_off || self.rng.random_bool(0.15) {
            return;
        }
        let at = self.now + self.rng.random_range(1..8_000);
        if self.rng.random_bool(0.1) {
            self.network.push((at + self.rng.random_range(1..90_000), message.clone()));
        }
        self.network.push((at, message));
    }

    fn deliver(&mut self) {
        let (due, later) = std::mem::take(&mut self.network).into_iter().partition(|(at, _)| *at <= self.now);
        self.network = later;
        let due: Vec<(u64, Message)> = due;
        for (_, message) in due {
            match message {
                Message::Ask(host, question) => self.lend(host, question),
                Message::Reply(host, block, answer) => {
                    let borrowed = answer.as_ref().map_or(0, |answer| answer.seats);
                    self.borrowed += u64::from(borrowed);
                    self.at(host, |node| {
                        node.change(move |writer, moment| match &answer {
                            Some(answer) => writer.take_block(&block, answer, moment),
                            None => writer.drop_block(&block, moment),
                        })
                    });
                }
            }
        }
    }

    fn lend(&mut self, host: usize, question: Question) {
        let mut ask = self.keys[host].clone();
        (ask.request_id, ask.asked) = (question.block, [7; 32]);
        let block = question.block;
        let Question { number, seats, needed, .. } = question;
        let borrowing = Borrowing { ask, number, seats, needed };
        let lending = self.at(0, |node| node.change(move |writer, moment| writer.lend(&borrowing, moment)));
        let time_to_live = times().block_time;
        let answer = match lending {
            Some(Ok(Lending::Lent(None))) => {
                Some(Answered { number, seats: 0, time_to_live, terms: None, scarce: false })
            }
            Some(Ok(Lending::Lent(Some(lent)))) => {
                let terms = Terms { serial: "1".to_owned(), container_id: [1; 32], item: lent.item, chain: Vec::new() };
                let seats = lent.session.seats.get().min(seats);
                Some(Answered { number, seats, time_to_live, terms: Some(terms), scarce: lent.scarce })
            }
            Some(Ok(Lending::Refused(_))) => None,
            Some(Err(problem)) if problem.code == ErrorCode::WrongState => None,
            // A full disk, or death.
            Some(Err(_)) | None => return,
        };
        self.send(host, Message::Reply(host, block, answer));
    }

    /// What the task of a sidecar does now and then.
    fn work(&mut self, host: usize) {
        let without = self.programs.iter().filter(|program| program.node == host && program.session.is_none()).count();
        let waiting = if self.rng.random() { u32::try_from(without).expect("few") } else { 0 };
        let ask = &self.keys[0];
        let wish = Wish { firm_code: ask.firm_code, product_code: ask.product_code, feature_map: ask.feature_map };
        let asked = move |node: &mut Node| {
            node.change(move |writer, moment| writer.ask_for_block("lender", &wish, waiting, moment))
        };
        if let Some(Ok(Some(next))) = self.at(host, asked) {
            self.send(host, Message::Ask(host, next.question));
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..40 => {
                let number = self.rng.random_range(0..CLIENTS);
                self.act(number);
            }
            40..65 => {
                let span = self.rng.random_range(0..25_000);
                self.pass(span);
            }
            65..75 => {
                let number = self.rng.random_range(0..NODES);
                self.at(number, |node| node.turns.tick().is_none().then_some(()));
            }
            75..91 => {
                let host = self.rng.random_range(1..NODES);
                self.work(host);
            }
            91..94 => {
                let number = self.rng.random_range(0..NODES);
                self.crash(number);
            }
            94..96 => {
                let (number, at) = (self.rng.random_range(0..NODES), self.rng.random_range(1..12));
                let fault = if self.rng.random_bool(0.3) { Fault::Full } else { Fault::Crash };
                self.nodes[number].disk.fail_at(at, fault);
            }
            96..98 => self.nodes.iter().for_each(|node| node.disk.heal()),
            _ => {
                let number = self.rng.random_range(0..NODES);
                self.nodes[number].cut_off = !self.nodes[number].cut_off;
            }
        }
        self.deliver();
        self.hear();
        self.check();
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis;
        for node in &self.nodes {
            node.clock.advance(Duration::from_micros(millis * u64::from(node.speed)));
        }
    }

    fn act(&mut self, number: usize) {
        let program = &self.programs[number];
        let (node, channel) = (program.node, program.channel.clone());
        let (now, ledger) = (self.nodes[node].now(), self.nodes[node].ledger.clone());
        let Some(session) = program.session else { return self.acquire(number) };
        if program.believes < now {
            // Its own clock says that the seat may be another's by now.
            (self.programs[number].session, self.programs[number].stream) = (None, None);
            return;
        }
        match self.rng.random_range(0..10) {
            0..4 => {
                let call: Asked<_> = Box::pin(async move { ledger.revalidate(session, channel).await });
                match self.at(node, |node| node.ask(call)) {
                    Some(Ok(true)) => self.believe(number, now + AFTER_ANSWER),
                    Some(Ok(false)) => self.programs[number].session = None,
                    _ => {}
                }
            }
            4..8 => {
                let call: Asked<_> = Box::pin(async move { ledger.attach(session, channel).await });
                match self.at(node, |node| node.ask(call)) {
                    Some(Ok(Some(held))) => {
                        self.programs[number].stream = Some(held);
                        self.believe(number, now + AFTER_BEAT);
                    }
                    Some(Ok(None)) => self.programs[number].session = None,
                    _ => {}
                }
            }
            8 => self.programs[number].stream = None,
            _ => {
                (self.programs[number].session, self.programs[number].stream) = (None, None);
                let call: Asked<_> = Box::pin(async move { ledger.release(session, channel).await });
                let _ = self.at(node, |node| node.ask(call));
            }
        }
    }

    fn believe(&mut self, number: usize, until: Duration) {
        let program = &mut self.programs[number];
        program.believes = program.believes.max(until);
    }

    fn acquire(&mut self, number: usize) {
        self.requests += 1;
        let request = self.requests;
        let program = &mut self.programs[number];
        program.ask.request_id[..8].copy_from_slice(&request.to_be_bytes());
        program.ask.asked[..8].copy_from_slice(&request.to_be_bytes());
        let (node, ask) = (program.node, program.ask.clone());
        let (now, ledger) = (self.nodes[node].now(), self.nodes[node].ledger.clone());
        let call: Asked<_> = Box::pin(async move { ledger.acquire(ask).await });
        let answer = self.at(node, |node| node.ask(call));
        // The answer may be lost.
        if let Some(Ok(Answer::Granted(given))) = answer
            && self.rng.random_bool(0.95)
        {
            self.served += 1;
            let program = &mut self.programs[number];
            (program.session, program.believes) = (Some(given.session.id), now + AFTER_ANSWER);
        }
    }

    /// What streams say: beats for as long as they may be sent.
    fn hear(&mut self) {
        for program in &mut self.programs {
            let now = self.nodes[program.node].now();
            let Some(stream) = &mut program.stream else { continue };
            // The worst: a beat came at the last moment at which one was sent.
            let last = stream.attached.until.as_ref().map_or(now, |until| until.at().min(now));
            match stream.attached.end.try_recv() {
                Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {
                    program.believes = program.believes.max(last + AFTER_BEAT);
                }
                Ok(_) => (program.session, program.stream) = (None, None),
                Err(tokio::sync::oneshot::error::TryRecvError::Closed) => program.stream = None,
            }
        }
    }

    fn check(&mut self) {
        let believes =
            |program: &&Program| program.session.is_some() && program.believes >= self.nodes[program.node].now();
        let believers = self.programs.iter().filter(believes).count();
        assert!(believers <= self.seats, "{believers} programs believe in {} seats", self.seats);
    }

    /// All programs are gone and nothing is lost any more: in the end every seat is free at the lender.
    fn end(&mut self) {
        self.network.clear();
        for program in &mut self.programs {
            (program.session, program.stream) = (None, None);
        }
        for node in &mut self.nodes {
            node.disk.heal();
            node.cut_off = false;
        }
        // Longer than any block lives without a word.
        for _ in 0..14 {
            for number in 0..NODES {
                self.at(number, |node| (node.turns.turn().is_none() && node.turns.tick().is_none()).then_some(()));
            }
            self.pass(20_000);
        }
        self.at(0, |node| node.turns.tick().is_none().then_some(()));
        let ledger = self.nodes[0].ledger.clone();
        let look = |keeper: &Keeper, _| keeper.state.sessions.len();
        let left = self.at(0, |node| node.ask(Box::pin(async move { ledger.read(look).await })));
        assert_eq!(left, Some(Ok(0)), "seats are lost at the lender");
    }
}

#[test]
fn seats_of_blocks_are_never_given_twice_or_lost_whatever_happens() {
    let channels = channels();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let lenders = runtime.block_on(disks());
    let empty: Vec<MemoryDisk> = (0..NODES).map(|_| MemoryDisk::new()).collect();
    empty.iter().for_each(|disk| drop(begin_with(disk, &ManualClock::new(start_of_tests()), times())));
    let (mut served, mut borrowed, mut crashes) = (0, 0, 0);
    let only = std::env::var("LICTOR_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seeds = only.map_or(0..1_000 * scale(), |seed: u64| seed..seed + 1);
    for seed in seeds.clone() {
        let telling = Telling(seed);
        let lender = &lenders[usize::try_from(seed % 3).expect("small")];
        let mut world = World::new(seed, lender, &empty, &channels);
        for _ in 0..STEPS {
            world.step();
        }
        world.end();
        (served, borrowed, crashes) = (served + world.served, borrowed + world.borrowed, crashes + world.crashes);
        std::mem::forget(telling);
    }
    println!("{} seeds: {served} seats taken, {borrowed} seats borrowed, {crashes} crashes", seeds.count());
    assert!(only.is_some() || (served > 1_000 && borrowed > 1_000 && crashes > 500), "the simulation does something");
}
