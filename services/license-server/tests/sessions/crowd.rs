//! Blocks in numbers: a hundred machines start three hundred programs each, and the network server hears little of it.

use lictor_clock::ManualClock;
use lictor_license_server::domain::ask::{Answer, Ask};
use lictor_license_server::domain::blocks::{Answered, Borrowing, Question, Terms, Wish};
use lictor_license_server::settings::SessionTimes;
use lictor_license_server::store::memory_disk::{MemoryDisk, Unsynced};
use lictor_license_server::writer::{Lending, Next};

use crate::simulation::program::{Asked, begin_with, poll, wish};
use crate::stage::doors::Stage;
use crate::stage::vendor::{FIRM, Vendor, add, start_of_tests};

const HOSTS: usize = 100;
const PROGRAMS: usize = 300;
const ROUNDS: usize = 20;

struct Host {
    turns: lictor_license_server::writer::Turns,
    ledger: lictor_license_server::writer::Ledger,
    served: usize,
    wanted: usize,
}

fn done<T: 'static>(turns: &mut lictor_license_server::writer::Turns, asked: Asked<T>) -> T {
    let mut asked = asked;
    assert!(poll(&mut asked).is_none());
    assert!(turns.turn().is_none(), "a whole disk");
    poll(&mut asked).expect("an answer")
}

#[test]
fn thirty_thousand_programs_on_a_hundred_machines_cost_the_network_server_less_than_a_thousand_calls() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut vendor = Vendor::new(FIRM, 1);
    let disk = runtime.block_on(async {
        let stage = Stage::filled(&mut vendor, vec![add(1, 201, 45_000)]).await;
        stage.ledger.change(|writer, _| writer.started()).await.expect("started");
        stage.ledger.stop().await;
        stage.disk
    });
    let clock = ManualClock::new(start_of_tests());
    disk.restart(Unsynced::Kept);
    let (mut lender, lending) = begin_with(&disk, &clock, SessionTimes::default());
    let empty = MemoryDisk::new();
    drop(begin_with(&empty, &clock, SessionTimes::default()));
    let mut hosts: Vec<Host> = (0..HOSTS)
        .map(|_| {
            let (turns, ledger) = begin_with(&empty.copy(), &clock, SessionTimes::default());
            Host { turns, ledger, served: 0, wanted: 0 }
        })
        .collect();
    let key = lictor_key_store::MemorySigner::from_seed(&[9; 32]);
    let plain = wish(&key);
    let product = Wish { firm_code: plain.firm_code, product_code: plain.product_code, feature_map: plain.feature_map };
    let mut calls = 0;
    for _ in 0..ROUNDS {
        for (number, host) in hosts.iter_mut().enumerate() {
            host.wanted += PROGRAMS / ROUNDS;
            // Until everybody of this round is served: whoever finds no seat makes the sidecar ask.
            while host.served < host.wanted {
                let asks = (host.served..host.wanted).map(|program| named(&plain, number, program));
                let mut waiting: Vec<Asked<_>> = asks
                    .map(|ask| {
                        let ledger = host.ledger.clone();
                        Box::pin(async move { ledger.try_acquire(ask, true).await }) as Asked<_>
                    })
                    .collect();
                waiting.iter_mut().for_each(|asked| assert!(poll(asked).is_none()));
                assert!(host.turns.turn().is_none());
                let granted = waiting.iter_mut().filter_map(poll);
                host.served += granted.filter(|answer| matches!(answer, Ok(Answer::Granted(_)))).count();
                let missing = u32::try_from(host.wanted - host.served).expect("few");
                if missing == 0 {
                    break;
                }
                let (ledger, wish) = (host.ledger.clone(), product.clone());
                let next = done(
                    &mut host.turns,
                    Box::pin(async move {
                        ledger.change(move |writer, now| writer.ask_for_block("lender", &wish, missing, now)).await
                    }),
                );
                let Next { question, .. } = next.expect("no failure").expect("a question");
                calls += 1;
                let answer = lend(&mut lender, &lending, &plain, &question);
                let ledger = host.ledger.clone();
                let block = question.block;
                let taken =
                    Box::pin(
                        async move { ledger.change(move |writer, now| writer.take_block(&block, &answer, now)).await },
                    );
                done(&mut host.turns, taken).expect("taken");
            }
        }
    }
    println!("{calls} calls for {} seats", HOSTS * PROGRAMS);
    assert!(hosts.iter().all(|host| host.served == PROGRAMS), "everybody is served");
    assert!(calls < 1_000, "{calls} calls");
}

fn named(plain: &Ask, host: usize, program: usize) -> Ask {
    let mut ask = plain.clone();
    ask.client_key = lictor_signing::Signer::public_key(&lictor_key_store::MemorySigner::from_seed(&{
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(program as u64).to_be_bytes());
        seed
    }));
    ask.request_id[..8].copy_from_slice(&(host as u64).to_be_bytes());
    ask.request_id[8..].copy_from_slice(&(program as u64).to_be_bytes());
    ask
}

fn lend(
    lender: &mut lictor_license_server::writer::Turns,
    ledger: &lictor_license_server::writer::Ledger,
    plain: &Ask,
    question: &Question,
) -> Answered {
    let mut ask = plain.clone();
    ask.request_id = question.block;
    let Question { number, seats, needed, .. } = *question;
    let borrowing = Borrowing { ask, number, seats, needed };
    let ledger = ledger.clone();
    let lending = Box::pin(async move { ledger.change(move |writer, now| writer.lend(&borrowing, now)).await });
    let Ok(Lending::Lent(Some(lent))) = done(lender, lending) else { panic!("there are seats enough") };
    let terms = Terms { serial: "1".to_owned(), container_id: [1; 32], item: lent.item, chain: Vec::new() };
    let (seats, time_to_live) = (lent.session.seats.get(), SessionTimes::default().block_time);
    Answered { number, seats, time_to_live, terms: Some(terms), scarce: lent.scarce }
}
