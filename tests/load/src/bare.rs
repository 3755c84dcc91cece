//! What issuing is compared with: commits of one row through the same driver, and a signature with a seal.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use lictor_key_store::MemorySigner;
use lictor_license_file::seal::{self, SealingKey};
use lictor_signing::Signer as _;
use lictor_storage::sqlx::{self, AnyPool, any::AnyPoolOptions};
use lictor_test_support::programs::Answer;
use lictor_test_support::servers::postgres_programs;
use tokio::task::JoinSet;

use crate::figures::cpu_seconds;

/// A row about as large as a segment.
const ROW_BYTES: usize = 1_000;
/// Repetitions of a signature with a seal: the kernel counts CPU in hundredths of a second.
const SEALS: u32 = 2_000;

/// Asks the database by `psql`; gives the first column of the first row.
///
/// # Errors
/// The statement fails.
pub fn ask(database: &str, statement: &str) -> anyhow::Result<String> {
    let answer = Answer::of(Command::new(postgres_programs()?.join("psql")).arg(database).args(["-qAtc", statement]))?;
    ensure!(answer.code == 0, "{statement}: {}", answer.errors);
    Ok(answer.output.trim().to_owned())
}

/// Commits of a single row per second, with this many connections at work, through the driver and the pool that the
/// services use.
///
/// # Errors
/// The database refuses.
pub async fn commits_per_second(database: &str, in_flight: usize, length: Duration) -> anyhow::Result<f64> {
    ask(
        database,
        "create table if not exists bare_row (id bigint generated always as identity primary key, content bytea)",
    )?;
    sqlx::any::install_default_drivers();
    let pool = AnyPoolOptions::new().max_connections(u32::try_from(in_flight)?).connect(database).await?;
    let insert = async |pool: &AnyPool| {
        sqlx::query("INSERT INTO bare_row (content) VALUES ($1)").bind(vec![0x5a_u8; ROW_BYTES]).execute(pool).await
    };
    // Every connection is there before the time begins.
    let ready = pool.clone();
    all_of(in_flight, move || {
        let pool = ready.clone();
        async move {
            insert(&pool).await?;
            Ok(1)
        }
    })
    .await?;
    let end = Instant::now() + length;
    let began = Instant::now();
    let working = pool.clone();
    let commits = all_of(in_flight, move || {
        let pool = working.clone();
        async move {
            let mut commits = 0_u32;
            while Instant::now() < end {
                insert(&pool).await?;
                commits += 1;
            }
            Ok(commits)
        }
    })
    .await?;
    let wall = began.elapsed().as_secs_f64();
    pool.close().await;
    Ok(f64::from(commits) / wall)
}

/// Runs as many of the same task at once and sums what they give.
async fn all_of<F>(count: usize, task: impl Fn() -> F) -> anyhow::Result<u32>
where
    F: Future<Output = anyhow::Result<u32>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        tasks.spawn(task());
    }
    let mut sum = 0;
    while let Some(ended) = tasks.join_next().await {
        sum += ended??;
    }
    Ok(sum)
}

/// CPU seconds of one Ed25519 signature and one HPKE seal over this many bytes.
///
/// # Errors
/// The kernel tells no figures.
pub fn sign_and_seal(bytes: usize) -> anyhow::Result<f64> {
    let (signer, to) = (MemorySigner::from_seed(&[1; 32]), SealingKey::from_seed(&[2; 32]).public());
    let plain = vec![0x5a; bytes];
    let before = cpu_seconds(std::process::id())?;
    for number in 0..SEALS {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let (_, sealed) = seal::seal(&to, b"header", &plain, &seed).map_err(|error| anyhow::anyhow!("{error}"))?;
        signer.sign(&sealed).map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok((cpu_seconds(std::process::id())? - before) / f64::from(SEALS))
}

/// CPU seconds of one verified signature and one opened seal of this many bytes: the least that a segment costs where it
/// is imported.
///
/// # Errors
/// The kernel tells no figures.
pub fn verify_and_open(bytes: usize) -> anyhow::Result<f64> {
    let (signer, key) = (MemorySigner::from_seed(&[1; 32]), SealingKey::from_seed(&[2; 32]));
    let refused = |error: &dyn std::fmt::Display| anyhow::anyhow!("{error}");
    let (encapsulated, sealed) =
        seal::seal(&key.public(), b"header", &vec![0x5a; bytes], &[3; 32]).map_err(|error| refused(&error))?;
    let signature = signer.sign(&sealed).map_err(|error| refused(&error))?;
    let public = signer.public_key();
    let before = cpu_seconds(std::process::id())?;
    for _ in 0..SEALS {
        ensure!(public.verifies(&sealed, &signature), "a signature just made");
        key.open(&encapsulated, b"header", &sealed).map_err(|error| refused(&error))?;
    }
    Ok((cpu_seconds(std::process::id())? - before) / f64::from(SEALS))
}
