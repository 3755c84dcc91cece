//! Running a whole transaction again when the engine gave it up.

use std::{error::Error, future::Future, time::Duration};

use crate::{
    StorageError,
    error::{Class, class_of},
};

/// Attempts of one transaction, the first included.
const ATTEMPTS: u32 = 8;
/// Pause after the first lost attempt; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Runs `transaction` until it succeeds, fails for good, or lost 8 times. The closure must begin, work and commit all by
/// itself, and must not touch anything outside the database, because it may run several times.
///
/// # Errors
/// The error of the last attempt.
pub async fn retry<T, E, F, Fut>(mut transaction: F) -> Result<T, E>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Error + 'static,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match transaction().await {
            Err(error) if is_transient(&error) => {
                tracing::debug!(error = %error, "transaction lost, running it again");
            }
            outcome => return outcome,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    transaction().await
}

/// True when `error` or one of its causes says that the transaction surely did not happen and may be run again.
pub fn is_transient(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(storage) = current.downcast_ref::<StorageError>() {
            return storage.is_transient();
        }
        if let Some(driver) = current.downcast_ref::<sqlx::Error>() {
            return class_of(driver) == Class::Transient;
        }
        next = current.source();
    }
    false
}
