//! Many requests at the same moment share transactions. Nobody may notice, except by the clock.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use lictor_licensing::error::ErrorCode;
use lictor_push_update_generator::{
    Failure,
    domain::request::{Change, IssueRequest},
    issue::{Issued, Issuer, Step, Watch},
    store,
};
use lictor_storage::{
    Database, Dialect,
    sqlx::{self, AssertSqlSafe},
};
use lictor_test_support::device::TestDevice;
use tokio::task::JoinSet;

use crate::world::{World, add, license, request, withdraw, worlds};

/// Containers of a crowd.
const MANY: usize = 12;

async fn known_devices(world: &World, count: usize) -> Vec<TestDevice> {
    let mut devices = Vec::with_capacity(count);
    for number in 0..count {
        let mut device = world.numbered(number);
        world.take(&device.context()).await;
        devices.push(device);
    }
    devices
}

/// All of them at once, and their answers by their references.
async fn at_once(
    issuer: &Issuer,
    requests: impl IntoIterator<Item = IssueRequest>,
) -> BTreeMap<String, Vec<Result<Issued, Failure>>> {
    let mut tasks = JoinSet::new();
    for request in requests {
        let issuer = issuer.clone();
        tasks.spawn(async move {
            let answer = issuer.issue(&request).await;
            (request.reference, answer)
        });
    }
    let mut answers: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for (reference, answer) in tasks.join_all().await {
        answers.entry(reference).or_default().push(answer);
    }
    answers
}

fn good(devices: &[TestDevice], round: &str, change: impl Fn() -> Change) -> Vec<IssueRequest> {
    let named = devices.iter().enumerate();
    named.map(|(place, device)| request(device, &format!("act_{round}_{place}"), vec![change()])).collect()
}

fn only(answers: &mut BTreeMap<String, Vec<Result<Issued, Failure>>>, reference: &str) -> Result<Issued, Failure> {
    let mut all = answers.remove(reference).expect("asked for");
    assert_eq!(all.len(), 1, "{reference}");
    all.remove(0)
}

fn code(answer: Result<Issued, Failure>) -> ErrorCode {
    answer.expect_err("a refusal").problem().code
}

#[tokio::test]
async fn in_a_crowd_each_bad_request_fails_alone_and_with_its_own_reason() {
    worlds(async |world| {
        let devices = known_devices(&world, MANY).await;
        let (stranger, taken) = (world.numbered(900), world.known_device(1).await);
        world.issue(&taken, "act_taken", vec![add(1)]).await;
        world.issue(&taken, "act_twice", vec![add(2)]).await;
        for (round, change) in [("first", add(1)), ("second", add(2))] {
            let mut requests = good(&devices, round, || change.clone());
            // The first one of a chain needs a certificate, so both rounds go ways of their own.
            requests.insert(1, request(&stranger, &format!("stranger_{round}"), vec![add(1)]));
            requests.insert(3, request(&taken, &format!("absent_{round}"), vec![withdraw(9)]));
            requests.insert(5, request(&taken, "act_taken", vec![add(7)]));
            requests.insert(7, request(&taken, "act_twice", vec![add(2)]));
            let mut answers = at_once(&world.issuer, requests).await;
            assert_eq!(code(only(&mut answers, &format!("stranger_{round}"))), ErrorCode::NotFound);
            assert_eq!(code(only(&mut answers, &format!("absent_{round}"))), ErrorCode::WrongState);
            assert_eq!(code(only(&mut answers, "act_taken")), ErrorCode::RequestIdReused);
            assert_eq!(only(&mut answers, "act_twice").expect("the same answer").to, 2);
            assert_eq!(answers.len(), MANY);
            for (reference, answer) in answers {
                answer.into_iter().for_each(|issued| assert!(issued.is_ok(), "{reference}: {issued:?}"));
            }
        }
        for mut device in devices {
            let file = world.pending(&device).await.expect("a file");
            device.import(&file).expect("an import");
            assert!(device.holds(license(1)) && device.holds(license(2)));
        }
    })
    .await;
}

#[tokio::test]
async fn requests_for_one_container_in_one_crowd_follow_each_other_and_copies_get_one_answer() {
    worlds(async |world| {
        let mut devices = known_devices(&world, 4).await;
        for device in &devices {
            world.issue(device, &format!("before_{}", device.serial), vec![add(200)]).await;
        }
        let busy = devices.remove(0);
        let mut requests = good(&devices, "other", || add(1));
        for number in 0..8 {
            for _ in 0..3 {
                requests.push(request(&busy, &format!("busy_{number}"), vec![add(number)]));
            }
        }
        let mut answers = at_once(&world.issuer, requests).await;
        let mut counters = Vec::new();
        for number in 0..8 {
            let copies = answers.remove(&format!("busy_{number}")).expect("asked for");
            let copies: Vec<_> = copies.into_iter().map(|answer| answer.expect("issued")).collect();
            assert!(copies.iter().all(|copy| *copy == copies[0]), "copies of a request get the same bytes");
            counters.push(copies[0].to);
        }
        counters.sort_unstable();
        assert_eq!(counters, (2..=9).collect::<Vec<_>>());
        assert!(answers.into_values().flatten().all(|answer| answer.is_ok_and(|issued| issued.to == 2)));
        let mut busy = busy;
        busy.import(&world.pending(&busy).await.expect("a file")).expect("an import");
        assert_eq!(busy.state.counter, 9);
    })
    .await;
}

/// Dies whenever a step is reached.
struct DieAlwaysAt(Step);

impl Watch for DieAlwaysAt {
    fn reached(&self, step: Step) -> ControlFlow<()> {
        if step == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[tokio::test]
async fn a_crowd_that_is_killed_between_any_two_steps_gets_the_bytes_that_were_fixed() {
    worlds(async |world| {
        let mut devices = known_devices(&world, MANY).await;
        for (round, step) in (0_u8..).zip(Step::ALL) {
            let requests = good(&devices, &format!("{round}"), || add(round));
            let dying = world.restarted(Some(Arc::new(DieAlwaysAt(step)))).await;
            let died = at_once(&dying.issuer, requests.clone()).await;
            let stopped = |answer: &Result<Issued, Failure>| matches!(answer, Err(Failure::Stopped(at)) if *at == step);
            assert!(died.values().flatten().all(stopped), "{step:?}: {died:?}");
            let mut fixed = Vec::new();
            for device in &devices {
                let key = request(device, "look", vec![add(0)]).key;
                fixed.push(store::segment::at(&world.db, &key, 0, u64::from(round) + 1).await.expect("a database"));
            }
            assert!(fixed.iter().all(|segment| segment.is_some() == (step != Step::Asked)), "{step:?}");

            let next = world.restarted(None).await;
            let waiting = if matches!(step, Step::Asked | Step::Issued) { 0 } else { MANY as u64 };
            assert_eq!(next.issuer.resume().await.expect("a resumer"), waiting, "{step:?}");
            let mut answers = at_once(&next.issuer, requests).await;
            for (place, device) in devices.iter_mut().enumerate() {
                let issued = only(&mut answers, &format!("act_{round}_{place}")).expect("issued");
                device.import(&issued.file.bytes).expect("an import");
                if let Some(fixed) = &fixed[place] {
                    assert_eq!(device.state.head, fixed.head, "{step:?}: the same bytes");
                }
            }
        }
    })
    .await;
}

/// Makes the database refuse a row.
async fn refuse(db: &Database, table: &str, condition: &str) {
    let statements = match db.dialect() {
        Dialect::Sqlite => vec![format!(
            "CREATE TRIGGER poison_{table} BEFORE INSERT ON {table} WHEN {condition} \
             BEGIN SELECT RAISE(ABORT, 'refused by a test'); END"
        )],
        Dialect::Postgres => vec![
            "CREATE OR REPLACE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'refused by a test'; END $$"
                .to_owned(),
            format!(
                "CREATE TRIGGER poison_{table} BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) \
                 EXECUTE FUNCTION poison()"
            ),
        ],
    };
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement)).execute(db.pool()).await.expect("a trigger");
    }
}

#[tokio::test]
async fn a_row_that_the_database_refuses_costs_nobody_else_in_the_crowd_anything() {
    worlds(async |world| {
        let devices = known_devices(&world, MANY).await;
        at_once(&world.issuer, good(&devices, "before", || add(1))).await;
        let archive = world.archive_db.as_ref().expect("an archive");
        refuse(&world.db, "segment", "NEW.reference = 'act_reserved_3'").await;
        refuse(archive, "archived_segment", "NEW.reference = 'act_archived_4'").await;
        let kept = format!("NEW.container_id = '{}' AND NEW.k > 3", devices[5].id());
        refuse(&world.db, "segment_envelope", &kept).await;
        for (round, number, bad) in [("reserved", 2, 3), ("archived", 3, 4), ("kept", 4, 5)] {
            let mut answers = at_once(&world.issuer, good(&devices, round, || add(number))).await;
            // What was reserved stands in its chain's way until the database takes it.
            for place in (0..MANY).filter(|place| *place == bad || *place == 4 && round == "kept") {
                assert!(only(&mut answers, &format!("act_{round}_{place}")).is_err(), "{round} {place}");
            }
            for (reference, answer) in answers {
                answer.into_iter().for_each(|issued| assert!(issued.is_ok(), "{reference}: {issued:?}"));
            }
        }
        for table in ["segment", "segment_envelope"] {
            drop_trigger(&world.db, table).await;
        }
        drop_trigger(archive, "archived_segment").await;
        world.issuer.resume().await.expect("a resumer");
        for (place, mut device) in devices.into_iter().enumerate() {
            device.import(&world.pending(&device).await.expect("a file")).expect("an import");
            assert_eq!(device.state.counter, if place == 3 { 3 } else { 4 });
        }
    })
    .await;
}

async fn drop_trigger(db: &Database, table: &str) {
    let on = if db.dialect() == Dialect::Postgres { format!(" ON {table}") } else { String::new() };
    let statement = format!("DROP TRIGGER poison_{table}{on}");
    sqlx::query(AssertSqlSafe(statement)).execute(db.pool()).await.expect("no trigger any more");
}
