//! What the kernel counts for a process, and medians.

use std::fs;

use anyhow::Context;

/// Clock ticks per second in `/proc/PID/stat`; fixed in the kernel's interface on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds of a process so far, user and system together.
///
/// # Errors
/// The process is gone.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    of_stat(pid, [11, 12])
}

/// CPU seconds of a process' threads as the scheduler counts them, in nanoseconds rather than ticks; what threads used that
/// have ended is not in it. Where the kernel does not count so, the ticks.
///
/// # Errors
/// The process is gone.
pub fn fine_cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(counted) = fs::read_to_string(thread?.path().join("schedstat")) else { return cpu_seconds(pid) };
        nanoseconds += counted.split_whitespace().next().context("a first figure")?.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}

/// CPU seconds of those of its children that have ended.
///
/// # Errors
/// The process is gone.
pub fn ended_children(pid: u32) -> anyhow::Result<f64> {
    of_stat(pid, [13, 14])
}

fn of_stat(pid: u32, places: [usize; 2]) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold anything; numbers begin after it.
    let (_, rest) = stat.rsplit_once(')').context("a name in brackets")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let mut ticks = 0.0;
    for place in places {
        ticks += fields.get(place).context("a field")?.parse::<f64>()?;
    }
    Ok(ticks / TICKS_PER_SECOND)
}

/// Resident bytes of a process.
///
/// # Errors
/// The process is gone.
pub fn resident_bytes(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a line VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0)
}

/// CPU seconds of the whole machine so far: all, and not idle.
///
/// # Errors
/// `/proc` is not there.
pub fn machine_seconds() -> anyhow::Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("a first line")?;
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are inside user.
    let all: f64 = ticks.iter().take(8).sum();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Ok((all / TICKS_PER_SECOND, (all - idle) / TICKS_PER_SECOND))
}

/// The middle of the values; of an even number the mean of the two in the middle. Zero for none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn own_process_has_figures() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).expect("a figure") >= 0.0);
        assert!(fine_cpu_seconds(pid).expect("a figure") >= 0.0);
        assert!(resident_bytes(pid).expect("a figure") > 0.0);
        let (all, busy) = machine_seconds().expect("a figure");
        assert!(all >= busy);
    }
}
