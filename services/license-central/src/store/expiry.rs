//! Announcing the ends of licenses. What was announced stands in the license's own row and goes with its event in one
//! transaction, so that neither a crash nor a second replica announces anything twice.

use lictor_clock::Timestamp;
use lictor_licensing::id::LicenseId;
use lictor_storage::{
    StorageError, Tx, lease, outbox, retry,
    sqlx::{self, Row, any::AnyRow},
};

use super::{
    Store, license,
    sql::{list, parsed, statement},
};
use crate::{
    domain::{
        expiry::{self, Due, Notice},
        license::License,
        policy::NoticeDays,
    },
    events::Moment,
    ids,
};

/// Licenses that one transaction looks at.
const BATCH: i64 = 100;
/// How long one replica sweeps before another may take over.
const LEASE_TIME: std::time::Duration = std::time::Duration::from_mins(3);

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Licenses that were looked at.
    pub looked_at: u64,
    /// Ends announced ahead.
    pub expiring: u64,
    /// Ends announced.
    pub expired: u64,
}

/// What the license's row remembers.
#[derive(Debug, Clone, Copy)]
struct Noticed {
    end: Option<Timestamp>,
    days: Option<u16>,
    placed_at: Option<Timestamp>,
}

impl Store {
    /// Announces everything that is due at `moment`, unless another replica is at it.
    pub async fn sweep(&self, holder: &str, leads: NoticeDays, moment: &Moment) -> Result<Swept, StorageError> {
        let mut swept = Swept::default();
        while lease::hold(&self.db, "expiry", holder, LEASE_TIME, moment.now).await? {
            let batch = retry(|| self.sweep_batch(leads, moment)).await?;
            swept.looked_at += batch.looked_at;
            swept.expiring += batch.expiring;
            swept.expired += batch.expired;
            if batch.looked_at < BATCH.unsigned_abs() {
                break;
            }
        }
        Ok(swept)
    }

    /// Gives the work to another replica at once.
    pub async fn stop_sweeping(&self, holder: &str) -> Result<(), StorageError> {
        lease::release(&self.db, "expiry", holder).await
    }

    /// Leads that differ from those of the last start make the sweeper look at everything that will end.
    pub async fn settle_leads(&self, leads: NoticeDays) -> Result<(), StorageError> {
        let text = leads.iter().map(|days| days.to_string()).collect::<Vec<_>>().join(",");
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let changed = sqlx::query(
                "INSERT INTO expiry_leads (place, leads) VALUES (1, $1) \
                 ON CONFLICT (place) DO UPDATE SET leads = excluded.leads WHERE expiry_leads.leads <> excluded.leads",
            )
            .bind(text.clone())
            .execute(tx.conn())
            .await?
            .rows_affected();
            if changed > 0 {
                sqlx::query("UPDATE license SET notice_at = 0 WHERE notice_at > 0").execute(tx.conn()).await?;
            }
            tx.commit().await
        })
        .await
    }

    async fn sweep_batch(&self, leads: NoticeDays, moment: &Moment) -> Result<Swept, StorageError> {
        let mut tx = self.db.begin().await?;
        let rows = sqlx::query("SELECT license_id FROM license WHERE notice_at <= $1 ORDER BY notice_at LIMIT $2")
            .bind(moment.now.as_micros())
            .bind(BATCH)
            .fetch_all(tx.conn())
            .await?;
        let ids = rows.iter().map(|row| parsed(row, "license_id")).collect::<Result<Vec<LicenseId>, _>>()?;
        let mut swept = Swept { looked_at: ids.len() as u64, ..Swept::default() };
        if ids.is_empty() {
            return Ok(swept);
        }
        let licenses = license::locked_by_ids(&mut tx, &ids).await?;
        let noticed = noticed(&mut tx, &ids).await?;
        let event_ids = ids::events(licenses.len(), moment.now);
        let (mut endless, mut events) = (Vec::new(), Vec::new());
        for (mut license, event_id) in licenses.into_iter().zip(event_ids) {
            let Some((end, before, due)) = due_of(&license, &noticed, leads, moment.now)? else {
                endless.push(license.id);
                continue;
            };
            if let Some(notice) = due.notice {
                license.version += 1;
                events.push(match notice {
                    Notice::Ahead(days) => moment.license_expiring(&license, end, days, event_id),
                    Notice::Ended => moment.license_expired(&license, end, event_id),
                });
                swept.expiring += u64::from(notice != Notice::Ended);
                swept.expired += u64::from(notice == Notice::Ended);
            }
            let days = due.notice.map(Notice::days).or(before);
            save(&mut tx, license.id, end, days, due).await?;
        }
        forget(&mut tx, &endless).await?;
        outbox::append_all(&mut tx, &events).await?;
        tx.commit().await?;
        Ok(swept)
    }
}

/// The license's true end, what was announced of it, and what is due; none when it has no end.
fn due_of(
    license: &License,
    noticed: &[(LicenseId, Noticed)],
    leads: NoticeDays,
    now: Timestamp,
) -> Result<Option<(Timestamp, Option<u16>, Due)>, StorageError> {
    let (_, noticed) = noticed
        .iter()
        .find(|(id, _)| *id == license.id)
        .ok_or_else(|| StorageError::inconsistent("license", "gone while it was locked"))?;
    let Some(end) = expiry::true_end(license) else {
        return Ok(None);
    };
    let before = if noticed.end == Some(end) { noticed.days } else { None };
    let settled = expiry::settled_at(license, end, noticed.placed_at);
    let leads = license.policy.expiry_notice_days.unwrap_or(leads);
    Ok(Some((end, before, expiry::due(now, end, settled, leads, before))))
}

/// What was announced of locked licenses.
async fn noticed(tx: &mut Tx, ids: &[LicenseId]) -> Result<Vec<(LicenseId, Noticed)>, StorageError> {
    let mut query = statement(format!(
        "SELECT l.license_id, l.noticed_end, l.noticed_days, (SELECT MAX(a.created_at) FROM allocation a \
         WHERE a.license_id = l.license_id AND a.state IN ('collected', 'confirmed', 'returning', 'lost')) AS placed_at \
         FROM license l WHERE l.license_id IN ({})",
        list(1, ids.len())
    ));
    for id in ids {
        query = query.bind(id.to_string());
    }
    query.fetch_all(tx.conn()).await?.iter().map(noticed_row).collect()
}

fn noticed_row(row: &AnyRow) -> Result<(LicenseId, Noticed), StorageError> {
    let time = |column| -> Result<Option<Timestamp>, StorageError> {
        let micros: Option<i64> = row.try_get(column)?;
        Ok(micros.map(Timestamp::from_micros))
    };
    let days: Option<i64> = row.try_get("noticed_days")?;
    let days = days
        .map(|days| {
            u16::try_from(days).map_err(|_| StorageError::inconsistent("license.noticed_days", days.to_string()))
        })
        .transpose()?;
    let noticed = Noticed { end: time("noticed_end")?, days, placed_at: time("placed_at")? };
    Ok((parsed(row, "license_id")?, noticed))
}

async fn save(
    tx: &mut Tx,
    license: LicenseId,
    end: Timestamp,
    days: Option<u16>,
    due: Due,
) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE license SET noticed_end = $1, noticed_days = $2, notice_at = $3, version = version + $4 \
         WHERE license_id = $5",
    )
    .bind(end.as_micros())
    .bind(days.map(i64::from))
    .bind(due.next.map(Timestamp::as_micros))
    .bind(i64::from(due.notice.is_some()))
    .bind(license.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Licenses that do not end by date are not looked at again until something changes.
async fn forget(tx: &mut Tx, ids: &[LicenseId]) -> Result<(), StorageError> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut query = statement(format!(
        "UPDATE license SET noticed_end = NULL, noticed_days = NULL, notice_at = NULL WHERE license_id IN ({})",
        list(1, ids.len())
    ));
    for id in ids {
        query = query.bind(id.to_string());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}
