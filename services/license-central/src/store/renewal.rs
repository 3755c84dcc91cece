//! Licenses that renew themselves: which are due, and their cancelling.
//!
//! A license is due in a container when its entry there is proven, its technical end comes near, nobody cancelled, no plan
//! is about to change it, and the renewal before was proven. The last condition keeps segments from piling up for a
//! container that fetches nothing: at most one renewal waits there.

use std::collections::HashMap;

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode,
    error::ErrorCode,
    id::{EventId, LicenseId},
};
use lictor_storage::{
    StorageError, Tx,
    command::{self, Begun, Command},
    outbox, retry,
    sqlx::{self, AnyConnection, Row, any::AnyRow},
};
use sha2::{Digest, Sha256};

use super::{
    Store,
    history::{Note, note},
    license,
    order::request_id_reused,
    sql::{parsed, small},
};
use crate::{
    domain::{expiry, license::License, plan::MAX_LICENSES, renewal},
    events::Moment,
    failure::Failure,
};

/// Entries that one question looks at.
const LOOKED_AT: i64 = 5_000;

/// Licenses of one container whose technical end comes near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRenewal {
    /// The vendor.
    pub firm: FirmCode,
    /// SHA-256 of the container's device key, hex.
    pub container: String,
    /// Its display serial.
    pub serial: String,
    /// The licenses, ascending.
    pub licenses: Vec<LicenseId>,
    /// Names this very renewal: the same until it is done, and another one after it was given up.
    pub key: String,
}

/// An entry that is due.
struct Entry {
    firm: FirmCode,
    container: String,
    serial: String,
    license: LicenseId,
    ends_at: i64,
    changed_at: i64,
}

/// Renewals whose time has come, oldest first, at most `limit` containers.
pub(super) async fn due(conn: &mut AnyConnection, now: Timestamp, limit: u32) -> Result<Vec<DueRenewal>, StorageError> {
    let rows = sqlx::query(
        "SELECT l.firm_code, a.container_id, a.serial, a.license_id, a.expires_at, a.changed_at \
         FROM allocation a JOIN license l ON l.license_id = a.license_id \
         LEFT JOIN reservation r ON r.activation_id = a.planned_by \
         WHERE a.state = 'confirmed' AND a.renew_at <= $1 AND a.expires_at IS NOT NULL \
         AND l.renewal_cancelled_at IS NULL AND l.withdrawn_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM transfer t WHERE t.transfer_id = a.transfer_id AND t.lend_until <= a.expires_at) \
         AND NOT EXISTS (SELECT 1 FROM blocked_container b WHERE b.firm_code = l.firm_code \
         AND b.container_id = a.container_id) \
         AND (a.planned_by IS NULL OR r.state = 'released' OR (r.state = 'reserved' AND r.reserved_until <= $2)) \
         AND NOT EXISTS (SELECT 1 FROM license_history h JOIN reservation w ON w.activation_id = h.activation_id \
         WHERE h.license_id = a.license_id AND h.container_id = a.container_id AND h.what = 'renewed' \
         AND w.state = 'committed') \
         ORDER BY a.renew_at, a.allocation_id LIMIT $3",
    )
    .bind(now.as_micros())
    .bind(now.as_micros())
    .bind(LOOKED_AT)
    .fetch_all(conn)
    .await?;
    let entries = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    Ok(grouped(entries, limit as usize))
}

fn entry(row: &AnyRow) -> Result<Entry, StorageError> {
    let firm = FirmCode::new(small(row, "firm_code")?);
    Ok(Entry {
        firm: firm.map_err(|error| StorageError::inconsistent("license.firm_code", error.to_string()))?,
        container: row.try_get("container_id")?,
        serial: row.try_get("serial")?,
        license: parsed(row, "license_id")?,
        ends_at: row.try_get("expires_at")?,
        changed_at: row.try_get("changed_at")?,
    })
}

/// One piece of work per container, in the order of its first entry.
fn grouped(entries: Vec<Entry>, limit: usize) -> Vec<DueRenewal> {
    let mut places: HashMap<(FirmCode, String), usize> = HashMap::new();
    let mut groups: Vec<Vec<Entry>> = Vec::new();
    for entry in entries {
        let place = *places.entry((entry.firm, entry.container.clone())).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        // Parts of one license in one container are one entry there; more than a plan takes wait for the next time.
        let known = groups[place].iter().any(|other| other.license == entry.license);
        if !known && groups[place].len() < MAX_LICENSES {
            groups[place].push(entry);
        }
    }
    groups.into_iter().take(limit).filter_map(one).collect()
}

fn one(mut entries: Vec<Entry>) -> Option<DueRenewal> {
    entries.sort_by_key(|entry| entry.license);
    let first = entries.first()?;
    let (firm, container, serial) = (first.firm, first.container.clone(), first.serial.clone());
    let mut hash = Sha256::new_with_prefix(b"renewal\0");
    hash.update(format!("{firm} {container}"));
    for entry in &entries {
        // A plan that was given up has touched the part, so that what is due again has another name.
        hash.update(format!(" {} {} {}", entry.license, entry.ends_at, entry.changed_at));
    }
    let key = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let licenses = entries.into_iter().map(|entry| entry.license).collect();
    Some(DueRenewal { firm, container, serial, licenses, key })
}

impl Store {
    /// Ends the automatic renewal of a license, or takes that back (`resume`), and stores `answer`, once per command.
    /// Asking for what is so already changes nothing.
    pub async fn cancel_renewal(
        &self,
        id: LicenseId,
        resume: bool,
        event: EventId,
        command: &Command<'_>,
        moment: &Moment,
        answer: impl Fn(&License) -> Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let open = match command::begin(&mut tx, command, moment.now).await? {
                Begun::Replay(answer) => return Ok(answer),
                Begun::Conflict => return Err(request_id_reused()),
                Begun::Fresh(open) => open,
            };
            let found = license::locked_by_ids(&mut tx, &[id]).await?.pop();
            let mut license = found.ok_or_else(|| {
                Failure::refused(ErrorCode::NotFound, format!("there is no license {id}"), "list the licenses")
            })?;
            if license.renewal_cancelled_at.is_some() == resume {
                allowed(&license, resume, moment.now)?;
                change(&mut tx, &mut license, resume, event, moment).await?;
            } else {
                renews(&license)?;
            }
            let answer = answer(&license);
            command::finish(&mut tx, open, &answer).await?;
            tx.commit().await?;
            Ok(answer)
        })
        .await
    }
}

fn renews(license: &License) -> Result<(), Failure> {
    if license.policy.renewal.is_some() {
        return Ok(());
    }
    Err(Failure::refused(
        ErrorCode::WrongState,
        format!("the license {} is not renewed by itself", license.id),
        "nothing has to be cancelled; withdraw it to end it",
    ))
}

fn allowed(license: &License, resume: bool, now: Timestamp) -> Result<(), Failure> {
    renews(license)?;
    if license.over().is_some() {
        return Err(Failure::refused(
            ErrorCode::WrongState,
            format!("the license {} was withdrawn by the vendor", license.id),
            "order another one",
        ));
    }
    if resume {
        renewal::resume(expiry::end_as_things_stand(license), now)?;
    }
    Ok(())
}

async fn change(
    tx: &mut Tx,
    license: &mut License,
    resume: bool,
    event: EventId,
    moment: &Moment,
) -> Result<(), StorageError> {
    license.renewal_cancelled_at = (!resume).then_some(moment.now);
    license.version += 1;
    // The end counts from now on, or no more: the sweeper has to look again.
    sqlx::query(
        "UPDATE license SET renewal_cancelled_at = $1, version = version + 1, notice_at = 0 WHERE license_id = $2",
    )
    .bind(license.renewal_cancelled_at.map(Timestamp::as_micros))
    .bind(license.id.to_string())
    .execute(tx.conn())
    .await?;
    let (what, why) = if resume {
        ("resumed", "the cancelling of its renewal was taken back")
    } else {
        ("cancelled", "it is not renewed any more and ends on its technical end")
    };
    let fact = Note {
        license: license.id,
        what,
        container: String::new(),
        serial: String::new(),
        quantity: license.quantity,
        activation: None,
        counter: 0,
        expires_at: expiry::end_as_things_stand(license),
        why: why.to_owned(),
    };
    note(tx, &[fact], moment.now).await?;
    outbox::append(tx, &moment.license_changed(license, license.state(), event)).await
}
