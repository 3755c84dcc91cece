//! `lictor notify replay` and `replays`: sending again.

use clap::Args;
use lictor_api::notification::v1::replay_service_client::ReplayServiceClient;
use lictor_api::notification::v1::{
    CancelReplayRequest, ListReplaysRequest, Replay, ReplayKind, ReplayState, StartReplayRequest,
};
use lictor_clock::Timestamp;
use serde_json::{Value, json};

use crate::args::{moment, wire_time};
use crate::connect::Link;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::request::RequestId;
use crate::show;

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// This delivery, whatever became of it
    #[arg(long, value_name = "DELIVERY", conflicts_with_all = ["destination", "since", "until", "failed", "never_attempted"],
          required_unless_present = "destination")]
    delivery: Option<String>,

    /// Whose deliveries
    #[arg(long, value_name = "DESTINATION", requires = "since")]
    destination: Option<String>,

    /// Events that happened at or after this
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,

    /// … and before this [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,

    /// Only what was given up
    #[arg(long, conflicts_with = "never_attempted")]
    failed: bool,

    /// Only what it never got a delivery for, such as events from before it was added
    #[arg(long)]
    never_attempted: bool,

    #[command(flatten)]
    request_id: RequestId,
}

#[derive(Debug, Args)]
pub(crate) struct Replays {
    /// Only those of this destination
    #[arg(long, value_name = "DESTINATION", default_value = "", hide_default_value = true)]
    destination: String,

    /// Stop this one; what it has made due stays due
    #[arg(long, value_name = "REPLAY", conflicts_with = "destination")]
    cancel: Option<String>,
}

impl Start {
    pub(super) async fn run(self, link: &Link, environment: &Environment) -> Outcome {
        let kind = match (&self.delivery, self.failed, self.never_attempted) {
            (Some(_), ..) => ReplayKind::One,
            (None, true, _) => ReplayKind::Failed,
            (None, _, true) => ReplayKind::NeverAttempted,
            (None, false, false) => ReplayKind::Range,
        };
        let request = StartReplayRequest {
            request_id: self.request_id.named(environment)?,
            kind: kind.into(),
            delivery_id: self.delivery.unwrap_or_default(),
            destination_id: self.destination.unwrap_or_default(),
            since: self.since.map(wire_time),
            until: self.until.map(wire_time),
        };
        let mut client = ReplayServiceClient::new(link.channel());
        let answer = client.start_replay(request).await.map_err(|status| link.failed(status))?.into_inner();
        let replay = answer.replay.ok_or_else(|| link.incomplete())?;
        environment.out.one(&object(&replay), || {
            format!("{} has begun; lictor notify replays tells how far it is", replay.replay_id)
        });
        Ok(())
    }
}

impl Replays {
    pub(super) async fn run(self, link: &Link, environment: &Environment) -> Outcome {
        let mut client = ReplayServiceClient::new(link.channel());
        if let Some(id) = self.cancel {
            let request = CancelReplayRequest { replay_id: id };
            let answer = client.cancel_replay(request).await.map_err(|status| link.failed(status))?.into_inner();
            let replay = answer.replay.ok_or_else(|| link.incomplete())?;
            environment.out.one(&object(&replay), || format!("{} is {}", replay.replay_id, state(replay.state)));
            return Ok(());
        }
        let request = ListReplaysRequest { destination_id: self.destination };
        let answer = client.list_replays(request).await.map_err(|status| link.failed(status))?.into_inner();
        let objects: Vec<_> = answer.replays.iter().map(object).collect();
        let rows = answer.replays.iter().map(row).collect();
        let headings = ["replay", "destination", "what", "state", "since", "until", "sent again"];
        environment.out.many(&objects, &headings, rows, "there are no replays");
        Ok(())
    }
}

fn object(replay: &Replay) -> Value {
    json!({
        "replay_id": replay.replay_id,
        "destination_id": replay.destination_id,
        "kind": kind(replay.kind),
        "state": state(replay.state),
        "since": show::time(replay.since.as_ref()),
        "until": show::time(replay.until.as_ref()),
        "replayed": replay.replayed,
        "created_at": show::time(replay.created_at.as_ref()),
        "finished_at": show::time(replay.finished_at.as_ref()),
    })
}

fn row(replay: &Replay) -> Vec<String> {
    vec![
        replay.replay_id.clone(),
        replay.destination_id.clone(),
        kind(replay.kind).to_owned(),
        state(replay.state).to_owned(),
        show::time_word(replay.since.as_ref()),
        show::time_word(replay.until.as_ref()),
        replay.replayed.to_string(),
    ]
}

fn kind(kind: i32) -> &'static str {
    match ReplayKind::try_from(kind).unwrap_or_default() {
        ReplayKind::Unspecified => "unknown",
        ReplayKind::One => "one",
        ReplayKind::Range => "range",
        ReplayKind::Failed => "failed",
        ReplayKind::NeverAttempted => "never-attempted",
    }
}

fn state(state: i32) -> &'static str {
    match ReplayState::try_from(state).unwrap_or_default() {
        ReplayState::Unspecified => "unknown",
        ReplayState::Running => "running",
        ReplayState::Done => "done",
        ReplayState::Cancelled => "cancelled",
    }
}
