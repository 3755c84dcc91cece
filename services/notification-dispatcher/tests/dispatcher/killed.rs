//! Killed while it collects for an interval, leaves out overtaken statuses, and makes records of modules.

use std::collections::{BTreeMap, HashMap, HashSet};

use lictor_api::notification::v1::{ActivationLevel, DestinationOptions};

use crate::{
    program::launch,
    receiver::{Answer, Received, Receiver},
    records::{activated, at_level},
    world::World,
};

/// Licenses whose status changes.
const LICENSES: usize = 6;
/// Statuses of each.
const STATUSES: usize = 30;
/// Calls to one destination that may be under way when the program is killed.
const IN_FLIGHT: usize = 16;

fn collected(options: DestinationOptions) -> DestinationOptions {
    // The shortest interval there is: many of them end while the program is dead.
    DestinationOptions { every: Some(prost_types::Duration { seconds: 1, nanos: 0 }), ..options }
}

fn license_of(received: &Received) -> String {
    received.json()["data"]["license_id"].as_str().unwrap_or_default().to_owned()
}

fn serial_of(received: &Received) -> String {
    received.json()["data"]["serial"].as_str().unwrap_or_default().to_owned()
}

/// One body per id, and no more repetitions than calls could be under way.
fn repeats_are_few(received: &[Received], kills: usize) {
    let mut bodies = HashMap::<String, &[u8]>::new();
    for one in received {
        assert_eq!(*bodies.entry(one.id()).or_insert(&one.body), one.body.as_slice(), "{} has two bodies", one.id());
    }
    let repeated = received.len() - bodies.len();
    assert!(repeated <= kills * IN_FLIGHT, "{repeated} repetitions after {kills} kills");
}

async fn collecting_is_killed(world: World) {
    let (statuses, everything, records) = (
        Receiver::start(Answer::Status(200, "")).await,
        Receiver::start(Answer::Status(200, "")).await,
        Receiver::start(Answer::Status(200, "")).await,
    );
    let dispatcher = world.start().await;
    dispatcher.add_with(&statuses.url(), collected(at_level(ActivationLevel::CurrentStatus))).await;
    dispatcher.add_with(&everything.url(), collected(DestinationOptions::default())).await;
    let (plain, _) = dispatcher.add_with(&records.url(), at_level(ActivationLevel::All)).await;
    dispatcher.stop().await;

    let mut program = launch(&world);
    let mut kills = 0;
    for status in 1..=STATUSES {
        for license in 0..LICENSES / 2 {
            let (one, other) = (format!("lic_{license}"), format!("lic_{}", license + LICENSES / 2));
            world.producer.announce_as(&one, activated("act", &[&one, &other], &format!("9-{status}")));
        }
        // Killed in turn when nothing was read yet, when some of it is on its way, when an interval has just ended.
        let so_far = statuses.all().len();
        match status % 10 {
            2 => {}
            5 => {
                records.until("records on their way", |all| all.len() >= status * LICENSES / 2).await;
            }
            8 => {
                statuses.until("the end of an interval", |all| all.len() > so_far).await;
            }
            _ => continue,
        }
        program.kill().expect("it is killed");
        program.wait().expect("it is gone");
        kills += 1;
        program = launch(&world);
    }
    let last = format!("9-{STATUSES}");
    let all = STATUSES * LICENSES;
    records.until_taken(all).await;
    everything.until_taken(all / 2).await;
    statuses
        .until("the last status of every license", |all| {
            let reached: HashSet<String> = all.iter().filter(|one| serial_of(one) == last).map(license_of).collect();
            reached.len() == LICENSES
        })
        .await;
    program.kill().expect("it is killed");
    program.wait().expect("it is gone");
    // Whatever was left would leave now.
    let dispatcher = world.start().await;
    dispatcher.until(&plain, "nothing is left to do", |all| all.iter().all(|one| one.state == 3)).await;
    dispatcher.stop().await;

    let mut newest = BTreeMap::<String, usize>::new();
    for one in statuses.taken() {
        let number: usize = serial_of(&one).trim_start_matches("9-").parse().expect("a number");
        let so_far = newest.entry(license_of(&one)).or_default();
        assert!(number >= *so_far, "status {number} of {} after {so_far}", license_of(&one));
        *so_far = number;
    }
    assert_eq!(newest.len(), LICENSES);
    assert!(newest.values().all(|number| *number == STATUSES), "the last always arrives: {newest:?}");
    let told: HashSet<String> = statuses.taken().iter().map(Received::id).collect();
    assert!(told.len() < all / 2, "{} of {all} statuses were sent at intervals", told.len());
    for (receiver, what) in [(&statuses, "statuses"), (&everything, "events"), (&records, "records")] {
        eprintln!("{what}: {} calls, {kills} kills", receiver.taken().len());
        repeats_are_few(&receiver.taken(), kills);
    }
    let mut parts = HashMap::<(String, String), HashSet<String>>::new();
    for one in records.taken() {
        parts.entry((license_of(&one), serial_of(&one))).or_default().insert(one.id());
    }
    assert_eq!(parts.len(), all, "a record of every license of every transaction");
    assert!(parts.values().all(|ids| ids.len() == 1), "each under one id");
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_statuses_and_records_survive_kills() {
    collecting_is_killed(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_statuses_and_records_survive_kills_on_postgres() {
    if let Some(world) = World::postgres().await {
        collecting_is_killed(world).await;
    }
}
