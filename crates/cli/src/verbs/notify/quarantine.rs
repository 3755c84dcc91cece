//! `lictor notify quarantine`: events that the dispatcher did not understand.

use clap::Args;
use lictor_api::notification::v1::quarantine_service_client::QuarantineServiceClient;
use lictor_api::notification::v1::{ListQuarantinedRequest, QuarantinedEvent, ReprocessQuarantinedRequest};
use serde_json::{Value, json};

use crate::connect::Link;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::show;

#[derive(Debug, Args)]
pub(crate) struct Quarantine {
    /// Only events of this service, such as license-central
    #[arg(long, value_name = "SERVICE", default_value = "", hide_default_value = true)]
    source: String,

    /// Look at them again, 10,000 at most: what is understood now is delivered under its own id
    #[arg(long)]
    reprocess: bool,

    /// At most so many, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "reprocess",
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

impl Quarantine {
    pub(super) async fn run(self, link: &Link, environment: &Environment) -> Outcome {
        let mut client = QuarantineServiceClient::new(link.channel());
        if self.reprocess {
            let request = ReprocessQuarantinedRequest { source: self.source };
            let answer =
                client.reprocess_quarantined(request).await.map_err(|status| link.failed(status))?.into_inner();
            let told = json!({ "taken": answer.taken, "left": answer.left });
            environment.out.one(&told, || format!("{} are understood now, {} are not", answer.taken, answer.left));
            return Ok(());
        }
        let request = ListQuarantinedRequest { source: self.source, limit: self.limit };
        let answer = client.list_quarantined(request).await.map_err(|status| link.failed(status))?.into_inner();
        let objects: Vec<_> = answer.events.iter().map(object).collect();
        let rows = answer.events.iter().map(row).collect();
        environment.out.many(
            &objects,
            &["source", "number", "kept aside", "bytes", "why"],
            rows,
            "nothing is kept aside",
        );
        Ok(())
    }
}

fn object(event: &QuarantinedEvent) -> Value {
    json!({
        "source": event.source,
        "sequence": event.sequence,
        "digest": event.digest,
        "reason": event.reason,
        "quarantined_at": show::time(event.quarantined_at.as_ref()),
        "size": event.size,
    })
}

fn row(event: &QuarantinedEvent) -> Vec<String> {
    vec![
        event.source.clone(),
        event.sequence.to_string(),
        show::time_word(event.quarantined_at.as_ref()),
        event.size.to_string(),
        event.reason.clone(),
    ]
}
