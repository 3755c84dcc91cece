//! Sagas as rows.

use std::{fmt::Display, str::FromStr};

use lictor_clock::Timestamp;
use lictor_licensing::error::Problem;
use lictor_storage::{
    StorageError,
    sqlx::{Row, any::AnyRow},
    to_u64,
};

use crate::domain::{
    purpose::{Container, Purpose},
    saga::Saga,
};

pub(super) const COLUMNS: &str = "activation_id, purpose, state, firm_code, caller, request_id, body_hash, \
    ticket_masked, container_id, serial, container_kind, virtual_machine, licenses, counter_from, counter_to, \
    problem_code, problem_message, problem_next, proven_at, stalled_at, next_attempt_at, attempts, traceparent, \
    created_at";

/// A list as one column.
pub(super) fn joined<T: Display>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// A purpose as one column.
pub(super) fn document(purpose: &Purpose) -> Result<String, StorageError> {
    serde_json::to_string(purpose).map_err(|error| StorageError::inconsistent("activation.purpose", error.to_string()))
}

fn split<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<Vec<T>, StorageError> {
    let text: String = row.try_get(column)?;
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.parse().map_err(|_| StorageError::inconsistent(column, part))).collect()
}

pub(super) fn parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T, StorageError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| StorageError::inconsistent(column, text))
}

pub(super) fn saga(row: &AnyRow) -> Result<Saga, StorageError> {
    let purpose: String = row.try_get("purpose")?;
    let firm: i64 = row.try_get("firm_code")?;
    let body_hash: Vec<u8> = row.try_get("body_hash")?;
    let time = |column| -> Result<Option<Timestamp>, StorageError> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros))
    };
    let attempts: i64 = row.try_get("attempts")?;
    Ok(Saga {
        id: parsed(row, "activation_id")?,
        purpose: serde_json::from_str(&purpose).map_err(|_| StorageError::inconsistent("purpose", purpose))?,
        state: parsed(row, "state")?,
        firm: u32::try_from(firm).map_err(|_| StorageError::inconsistent("firm_code", firm.to_string()))?,
        caller: row.try_get("caller")?,
        request_id: row.try_get("request_id")?,
        body_hash: body_hash.try_into().map_err(|_| StorageError::inconsistent("body_hash", "not 32 bytes"))?,
        ticket_masked: row.try_get("ticket_masked")?,
        container: container(row)?,
        licenses: split(row, "licenses")?,
        from: to_u64(row.try_get("counter_from")?)?,
        to: to_u64(row.try_get("counter_to")?)?,
        problem: problem(row)?,
        proven: time("proven_at")?.is_some(),
        stalled: time("stalled_at")?.is_some(),
        next_attempt_at: time("next_attempt_at")?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        traceparent: row.try_get("traceparent")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
    })
}

fn container(row: &AnyRow) -> Result<Option<Container>, StorageError> {
    let id: String = row.try_get("container_id")?;
    if id.is_empty() {
        return Ok(None);
    }
    let kind: String = row.try_get("container_kind")?;
    let kind = (!kind.is_empty())
        .then(|| kind.parse().map_err(|_| StorageError::inconsistent("container_kind", kind)))
        .transpose()?;
    let virtual_machine: i64 = row.try_get("virtual_machine")?;
    Ok(Some(Container { id, serial: row.try_get("serial")?, kind, virtual_machine: virtual_machine != 0 }))
}

fn problem(row: &AnyRow) -> Result<Option<Problem>, StorageError> {
    let code: String = row.try_get("problem_code")?;
    if code.is_empty() {
        return Ok(None);
    }
    let code = code.parse().map_err(|_| StorageError::inconsistent("problem_code", code))?;
    let (message, next): (String, String) = (row.try_get("problem_message")?, row.try_get("problem_next")?);
    Ok(Some(Problem::new(code, message, next)))
}
