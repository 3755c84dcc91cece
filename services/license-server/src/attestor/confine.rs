//! What the two processes give up, each for the sake of the other: the attestor every network, the server every Unix
//! socket that it does not have open already, and so the engine's.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The kernel, or this program's filter, refused.
#[derive(Debug, thiserror::Error)]
#[error("the process cannot be confined: {0}")]
pub struct ConfineError(String);

/// Calls that neither process ever makes and that would lead out of its confinement: into another program, into another
/// process' memory and open files, around this filter, or into the kernel.
const NEVER: [i64; 18] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_io_uring_setup,
    libc::SYS_pidfd_getfd,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
];

/// No socket but Unix ones from now on, for the calling process and all of its threads.
///
/// # Errors
/// When the kernel has no filters, or refuses this one.
pub fn give_up_networks() -> Result<(), ConfineError> {
    apply(SeccompCmpOp::Ne)
}

/// No Unix socket but those that are open already, for the calling process and all of its threads.
///
/// # Errors
/// When the kernel has no filters, or refuses this one.
pub fn give_up_unix_sockets() -> Result<(), ConfineError> {
    apply(SeccompCmpOp::Eq)
}

/// Refuses `socket` when its domain compares with `AF_UNIX` in this way.
fn apply(refused: SeccompCmpOp) -> Result<(), ConfineError> {
    let failed = |error: &dyn std::fmt::Display| ConfineError(error.to_string());
    let unix = u64::from(libc::AF_UNIX.unsigned_abs());
    let domain = SeccompCondition::new(0, SeccompCmpArgLen::Dword, refused, unix).map_err(|error| failed(&error))?;
    let domain = SeccompRule::new(vec![domain]).map_err(|error| failed(&error))?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, vec![domain]);
    let architecture = std::env::consts::ARCH.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
    let errno = SeccompAction::Errno(libc::EACCES.unsigned_abs());
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, errno, architecture).map_err(|error| failed(&error))?;
    let program: BpfProgram = filter.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| failed(&error))
}
