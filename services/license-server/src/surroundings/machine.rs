//! Traits of the machine, as far as this user may read them.

use std::fs;
use std::path::{Path, PathBuf};

use lictor_binding::{Reading, TraitKind};

/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Where the kernel and the system show themselves; `/` except in tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

impl Root {
    /// Another folder in place of `/`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Whether a container engine or Kubernetes started this process.
    #[must_use]
    pub fn inside_container(&self) -> bool {
        [".dockerenv", "run/.containerenv"].iter().any(|mark| self.0.join(mark).exists())
            || (self.0 == Path::new("/") && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some())
    }

    /// The kernel's table of mounts, as far as it has a proper size.
    #[must_use]
    pub fn mount_table(&self) -> String {
        self.text("proc/self/mountinfo").unwrap_or_default()
    }

    fn text(&self, path: &str) -> Option<String> {
        read_text(&self.0.join(path))
    }

    /// Notes what identifies the machine. `device` is the block device under the state folder.
    ///
    /// `machine_id` is false inside a container, whose `/etc` is that of its image: the same on every machine.
    pub fn read_machine(&self, reading: &mut Reading, device: Option<(u32, u32)>, machine_id: bool) {
        if let Some(uuid) = self.text("sys/class/dmi/id/product_uuid") {
            reading.note(TraitKind::ProductUuid, uuid.to_ascii_lowercase().as_bytes());
        }
        if machine_id && let Some(id) = self.text("etc/machine-id") {
            reading.note(TraitKind::MachineId, id.as_bytes());
        }
        if let Some(model) = self.processor_model() {
            reading.note(TraitKind::ProcessorModel, model.as_bytes());
        }
        let addresses = self.hardware_addresses();
        reading.note(TraitKind::HardwareAddresses, addresses.join(",").as_bytes());
        if let Some(serial) = device.and_then(|device| self.disk_serial(device)) {
            reading.note(TraitKind::DiskSerial, serial.as_bytes());
        }
    }

    /// Whether this machine is virtual: the processor says so, or the firmware names a maker of virtual machines.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        const MAKERS: [&str; 10] = [
            "qemu",
            "kvm",
            "vmware",
            "virtualbox",
            "innotek",
            "xen",
            "microsoft corporation",
            "parallels",
            "amazon ec2",
            "google",
        ];
        let flags = self.text("proc/cpuinfo").unwrap_or_default();
        let flagged = flags.lines().any(|line| {
            line.split_once(':').is_some_and(|(key, value)| {
                key.trim() == "flags" && value.split_ascii_whitespace().any(|flag| flag == "hypervisor")
            })
        });
        let maker = ["sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name"]
            .into_iter()
            .filter_map(|path| self.text(path))
            .any(|text| MAKERS.iter().any(|maker| text.to_ascii_lowercase().contains(maker)));
        flagged || maker
    }

    fn processor_model(&self) -> Option<String> {
        let text = self.text("proc/cpuinfo")?;
        let value = |wanted: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == wanted).then(|| value.trim().to_owned())
            })
        };
        // Arm has no model name; implementer and part say the same.
        value("model name").or_else(|| Some(format!("{} {}", value("CPU implementer")?, value("CPU part")?)))
    }

    /// Addresses that are burnt into cards: no bridges, tunnels or random ones.
    fn hardware_addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = fs::read_dir(self.0.join("sys/class/net"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|card| card.join("device").exists())
            .filter(|card| read_text(&card.join("addr_assign_type")).as_deref() == Some("0"))
            .filter_map(|card| read_text(&card.join("address")))
            .collect();
        addresses.sort_unstable();
        addresses
    }

    /// Serial number or world-wide name of a disk; that of the whole disk when the device is a partition.
    fn disk_serial(&self, (major, minor): (u32, u32)) -> Option<String> {
        let device = fs::canonicalize(self.0.join(format!("sys/dev/block/{major}:{minor}"))).ok()?;
        device.ancestors().take(2).find_map(|disk| {
            ["serial", "device/serial", "wwid", "device/wwid", "device/vpd_pg80"]
                .into_iter()
                .find_map(|name| read_text(&disk.join(name)))
        })
    }
}

fn read_text(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned();
    (!text.is_empty()).then_some(text)
}
