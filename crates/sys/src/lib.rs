//! The few things of the operating system that need unsafe code, each behind a safe function. Everywhere else it is
//! forbidden.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Lets a command die with the thread that starts it, whatever ends that: the kernel sends it SIGKILL. Call it on the thread
/// that starts the command and lives as long as the process. A program that runs with another user's rights is out of its
/// reach.
pub fn end_with_parent(command: &mut Command) {
    let parent = getpid();
    let tell_kernel = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the kernel knew.
        if getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec the closure does two system calls and compares two numbers: it allocates nothing, takes no
    // lock, and touches nothing that another thread may have held at the fork.
    #[expect(unsafe_code, reason = "the only way to do something between fork and exec")]
    unsafe {
        command.pre_exec(tell_kernel);
    }
}

/// Gives memory that the allocator keeps for later back to the system; afterwards what is needed anew costs a page fault
/// each. Takes up to some tenths of a second, while other threads wait that allocate. Does nothing where the C library
/// cannot.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    release::malloc_trim(0);
}

#[cfg(target_env = "gnu")]
mod release {
    // SAFETY: the C library documents it since its version 2.1 with this signature, for any thread at any time.
    #[expect(unsafe_code, reason = "a function of the C library that no crate here offers")]
    unsafe extern "C" {
        /// Releases what is free in all arenas, but for `pad` bytes at the top of the main one; tells whether there was any.
        pub(super) safe fn malloc_trim(pad: usize) -> core::ffi::c_int;
    }
}
