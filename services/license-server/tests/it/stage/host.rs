//! Machines that a test makes up, as the kernel would show them.

use std::fs;
use std::path::Path;

use lictor_license_server::surroundings::machine::Root;
use tempfile::TempDir;

/// What stands in the place of `/`.
pub(crate) struct Host {
    place: TempDir,
}

impl Host {
    /// A machine of bare metal with everything to be recognised by; `name` makes it another one.
    pub(crate) fn new(name: &str) -> Self {
        let host = Self { place: tempfile::tempdir().expect("a folder") };
        host.write("sys/class/dmi/id/product_uuid", &format!("uuid of {name}"));
        host.write("sys/class/dmi/id/sys_vendor", "Maker");
        host.write("etc/machine-id", &format!("machine id of {name}"));
        host.write("proc/cpuinfo", &format!("model name\t: processor of {name}\nflags\t\t: fpu sse\n"));
        host.write("sys/class/net/eth0/address", &format!("address of {name}"));
        host.write("sys/class/net/eth0/addr_assign_type", "0");
        host.write("sys/class/net/eth0/device/vendor", "x");
        host.write("sys/dev/block/254:1/serial", &format!("disk of {name}"));
        host
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.place.path().join(path);
        fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// Has `folder` lie on a file system of its own.
    pub(crate) fn mount(&self, folder: &Path, root: &str, filesystem: &str) {
        let folder = folder.canonicalize().expect("a folder");
        self.write(
            "proc/self/mountinfo",
            &format!("1 0 254:1 {root} {} rw - {filesystem} /dev/vda rw\n", folder.display()),
        );
    }

    pub(crate) fn root(&self) -> Root {
        Root::at(self.place.path())
    }
}
