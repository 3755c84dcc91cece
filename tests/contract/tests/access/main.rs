//! Every RPC of every service, without a token and with each role, against the golden matrix.
//!
//! The list of RPCs comes from `proto/`, so a new RPC fails here until it is in the matrix. "Allowed" means that the door
//! is open: any answer but Unauthenticated and PermissionDenied, an empty message being a bad request to nearly all.
//! `LICTOR_WRITE_MATRIX=1` writes the matrix anew; read the difference before you commit it.

mod contract;
mod matrix;
mod raw;
mod world;

use contract::{Rpc, rpcs};
use matrix::{Matrix, Row};
use world::{Caller, Process, World};

#[test]
fn every_rpc_says_who_may_call_it_and_when_it_may_be_repeated() {
    let mut silent = Vec::new();
    for rpc in rpcs() {
        for line in ["Caller:", "Retry:"] {
            if !rpc.comment.lines().any(|text| text.trim_start().starts_with(line)) {
                silent.push(format!("{} has no line {line}", rpc.path));
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_keeps_to_the_golden_matrix() {
    let world = World::start().await;
    let mut seen = Matrix::default();
    for rpc in rpcs() {
        for process in Process::ALL.into_iter().filter(|process| process.offers(&rpc)) {
            let mut row = Row::new(process, &rpc);
            for caller in world.callers(process) {
                let door = world.knock(process, &rpc, caller).await;
                row.set(caller, door.is_open());
            }
            seen.push(row);
        }
    }
    world.stop().await;
    seen.hold_against_golden();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_does_not_offer_is_refused_to_everybody() {
    let world = World::start().await;
    let mut open = Vec::new();
    for rpc in rpcs() {
        for process in Process::ALL.into_iter().filter(|process| !process.offers(&rpc)) {
            for caller in [Caller::Nobody, Caller::Admin, Caller::Service] {
                if world.knock(process, &rpc, caller).await.is_answered() {
                    open.push(format!("{process:?} answers {} to {caller:?}", rpc.path));
                }
            }
        }
    }
    world.stop().await;
    assert!(open.is_empty(), "{open:#?}");
}

#[test]
fn the_comment_of_each_rpc_names_the_roles_of_the_matrix() {
    let golden = Matrix::golden();
    let mut different = Vec::new();
    for rpc in rpcs().iter().filter(|rpc| !rpc.is_of_the_server()) {
        let said = rpc.roles_said();
        for row in golden.rows_of(rpc) {
            if row.roles_allowed() != said {
                different.push(format!("{}: proto says {said:?}, the matrix {:?}", rpc.path, row.roles_allowed()));
            }
        }
    }
    assert!(different.is_empty(), "{different:#?}");
}

impl Rpc {
    fn is_of_the_server(&self) -> bool {
        Process::Server.offers(self)
    }

    /// The roles in the comment's line; all callers for one that is public.
    fn roles_said(&self) -> Vec<Caller> {
        let line = self.comment.lines().find_map(|line| line.trim_start().strip_prefix("Caller:")).unwrap_or_default();
        let sentence = line.split_once('.').map_or(line, |(first, _)| first).trim();
        if sentence.starts_with("public") {
            return Caller::WITH_TOKENS.to_vec();
        }
        let words: Vec<_> = sentence.split(',').map(str::trim).collect();
        Caller::WITH_TOKENS.into_iter().filter(|caller| words.contains(&caller.name())).collect()
    }
}
