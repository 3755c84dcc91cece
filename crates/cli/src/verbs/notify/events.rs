//! `lictor notify events`: events in their order, from a cursor on.

use clap::Args;
use lictor_api::notification::v1::ReadEventsRequest;
use lictor_api::notification::v1::event_service_client::EventServiceClient;
use serde_json::{Value, json};

use crate::connect::{Link, MAX_ANSWER_BYTES};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::show;

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Cursor of the last event that was read; 0 for the oldest that is kept
    #[arg(long, value_name = "CURSOR", default_value_t = 0)]
    after: u64,

    /// Event types that are wanted; may be given more than once [default: all]
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,

    /// End after so many events [default: at the last one]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    limit: u32,

    /// Wait for further events at the end
    #[arg(long)]
    follow: bool,
}

impl Events {
    pub(super) async fn run(self, link: &Link, environment: &Environment) -> Outcome {
        let request =
            ReadEventsRequest { after: self.after, limit: self.limit, follow: self.follow, types: self.types };
        let mut client = EventServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let mut stream = client.read_events(request).await.map_err(|status| link.failed(status))?.into_inner();
        while let Some(event) = stream.message().await.map_err(|status| link.failed(status))? {
            let body: Value = serde_json::from_slice(&event.body).unwrap_or_default();
            let told = json!({
                "cursor": event.cursor,
                "event_id": event.event_id,
                "event_type": event.event_type,
                "subject": event.subject,
                "occurred_at": show::time(event.occurred_at.as_ref()),
                "data": body["data"],
            });
            environment.out.one(&told, || {
                let at = show::time_word(event.occurred_at.as_ref());
                format!("{:>8}  {at}  {}  {}", event.cursor, event.event_type, event.subject)
            });
        }
        Ok(())
    }
}
