//! Mail to the operator when a destination was disabled: what came of it, why, and how to go on.

use lictor_clock::Timestamp;
use lictor_storage::{Database, StorageError};

use crate::{
    store::report::{self, Notice},
    transmission::mailer::{Mail, MailAddress, Mailer},
};

/// Tells of what was not told yet, oldest first; what cannot be sent now is tried again with the next look.
///
/// # Errors
/// The database does not answer.
pub(super) async fn tell(
    db: &Database,
    mailer: &Mailer,
    operator: &[MailAddress],
    now: Timestamp,
) -> Result<(), StorageError> {
    if operator.is_empty() {
        return Ok(());
    }
    for notice in report::notices(db).await? {
        if let Err(error) = mailer.send(&mail(&notice, operator), now).await {
            tracing::warn!(%error, destination = notice.destination_id, "the operator could not be told");
            return Ok(());
        }
        report::told(db, notice.sequence).await?;
    }
    Ok(())
}

fn mail(notice: &Notice, operator: &[MailAddress]) -> Mail {
    let Notice { event_id, at, destination_id, reason, .. } = notice;
    Mail {
        id: event_id.clone(),
        to: operator.to_vec(),
        subject: format!("Lictor: destination {destination_id} was disabled"),
        text: format!(
            "Deliveries to {destination_id} were stopped at {at}.\n\nWhy: {reason}\n\n\
             Nothing is lost: what is queued and what comes is kept for it. Once its receiver works again:\n\n\
             \u{20}   lictor notify destination enable {destination_id}\n"
        ),
        html: None,
        attachment: None,
    }
}
