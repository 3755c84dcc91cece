//! What issuing is compared with: PostgreSQL's own benchmark program with commits of one row, and a signature with a seal.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use lictor_key_store::MemorySigner;
use lictor_license_file::seal::{self, SealingKey};
use lictor_signing::Signer as _;
use lictor_test_support::programs::Answer;
use lictor_test_support::servers::postgres_programs;

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

/// Commits of a single row per second, with this many connections at work.
///
/// # Errors
/// `pgbench` is not installed or fails.
pub fn commits_per_second(database: &str, in_flight: usize, length: Duration) -> anyhow::Result<f64> {
    ask(
        database,
        "create table if not exists bare_row (id bigint generated always as identity primary key, content bytea)",
    )?;
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("insert.sql");
    fs::write(&script, format!("insert into bare_row (content) values (decode(repeat('5a', {ROW_BYTES}), 'hex'));\n"))?;
    let answer = Answer::of(
        Command::new(postgres_programs()?.join("pgbench"))
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={in_flight}"))
            .arg(format!("--time={}", length.as_secs().max(1)))
            .arg("--file")
            .arg(&script)
            .arg(database),
    )?;
    ensure!(answer.code == 0, "pgbench: {}", answer.errors);
    let line = answer.output.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench tells its speed")?;
    Ok(line.split(' ').next().unwrap_or_default().parse()?)
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
