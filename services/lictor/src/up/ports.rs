//! Which ports are taken.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

use lictor_licensing::error::{ErrorCode, Problem};
use lictor_runtime::HeldListeners;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::services::Part;

/// Where free ports are remembered for the next start.
const FILE: &str = "ports.json";

/// gRPC and HTTP port of each service, in the order of [`Part::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Numbers(Vec<[u16; 2]>);

/// Which service listens where.
#[derive(Debug)]
pub(super) struct Ports {
    numbers: Numbers,
    held: HeldListeners,
}

impl Ports {
    /// Address of the gRPC listener.
    pub(super) fn grpc(&self, part: Part) -> SocketAddr {
        self.at(part, 0)
    }

    /// Address of the HTTP listener.
    pub(super) fn http(&self, part: Part) -> SocketAddr {
        self.at(part, 1)
    }

    /// The listeners of free ports, held since they were chosen; none of ports that somebody named.
    pub(super) fn held(&self) -> HeldListeners {
        self.held.clone()
    }

    fn at(&self, part: Part, which: usize) -> SocketAddr {
        on(self.numbers.0.get(part as usize).map_or(0, |ports| ports[which]))
    }
}

fn on(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The usual ports, ten in a row, or free ones: those of the last start as far as they are still free.
pub(super) fn choose(base: Option<u16>, folder: &Folder) -> Result<Ports, Problem> {
    let named = |numbers| Ports { numbers, held: HeldListeners::default() };
    match base {
        None => Ok(named(Numbers(Part::ALL.iter().map(|part| part.usual_ports()).collect()))),
        Some(0) => {
            let before = remembered(folder);
            let ports = free(before.as_ref())?;
            if before.as_ref() != Some(&ports.numbers) {
                folder.replace(FILE, &serde_json::to_string(&ports.numbers).unwrap_or_default())?;
            }
            Ok(ports)
        }
        Some(base) => {
            Ok(named(Numbers((0..).step_by(2).take(Part::ALL.len()).map(|at| [base + at, base + at + 1]).collect())))
        }
    }
}

fn remembered(folder: &Folder) -> Option<Numbers> {
    let numbers: Numbers = serde_json::from_slice(&std::fs::read(folder.file(FILE)).ok()?).ok()?;
    (numbers.0.len() == Part::ALL.len()).then_some(numbers)
}

/// Where free ports are looked for: below those that the kernel gives to connections, one of which could hold a port when
/// the next start wants it back.
const RANGE: Range<u16> = 10_000..16_000;

fn free(before: Option<&Numbers>) -> Result<Ports, Problem> {
    let nothing = || {
        Problem::new(ErrorCode::Unavailable, "no ten free ports were found", "give the first of ten with --port-base")
    };
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|_| nothing())?;
    let count = RANGE.end - RANGE.start;
    let first = u16::from_be_bytes(random) % count;
    let mut others = (0..count).map(|step| RANGE.start + (first + step) % count);
    let mut held = Vec::new();
    let mut numbers = Vec::new();
    for place in 0..Part::ALL.len() * 2 {
        let wanted = before.and_then(|before| before.0.get(place / 2)).map(|ports| ports[place % 2]);
        let (port, listener) = wanted
            .into_iter()
            .chain(&mut others)
            .find_map(|port| Some((port, TcpListener::bind(on(port)).ok()?)))
            .ok_or_else(nothing)?;
        numbers.push(port);
        held.push(listener);
    }
    let numbers = numbers.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
    Ok(Ports { numbers: Numbers(numbers), held: HeldListeners::new(held) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().expect("temporary folder");
        let folder = Folder::open(place.path()).expect("folder");
        (place, folder)
    }

    #[test]
    fn free_ports_stay_the_same_over_restarts() {
        let (_place, folder) = folder();
        let first = choose(Some(0), &folder).expect("ports").numbers;
        assert_eq!(choose(Some(0), &folder).expect("ports").numbers, first);
        let mut all: Vec<u16> = first.0.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Part::ALL.len() * 2, "no port twice");
    }

    #[test]
    fn free_ports_are_held_until_they_are_used() {
        let (_place, folder) = folder();
        let ports = choose(Some(0), &folder).expect("ports");
        let address = ports.grpc(Part::Central);
        TcpListener::bind(address).expect_err("somebody else cannot take it");
        assert!(ports.held().take(address).is_some(), "whoever listens on it gets it");
    }

    #[test]
    fn a_port_that_was_taken_meanwhile_is_replaced_and_the_others_stay() {
        let (_place, folder) = folder();
        let first = choose(Some(0), &folder).expect("ports").numbers;
        let _taken = TcpListener::bind(on(first.0[2][1])).expect("free");
        let second = choose(Some(0), &folder).expect("ports").numbers;
        let changed = |place: usize, which: usize| first.0[place][which] != second.0[place][which];
        let places = (0..Part::ALL.len()).flat_map(|place| [(place, 0), (place, 1)]);
        assert_eq!(places.filter(|(place, which)| changed(*place, *which)).collect::<Vec<_>>(), [(2, 1)]);
    }

    #[test]
    fn a_base_gives_ten_ports_in_a_row() {
        let (_place, folder) = folder();
        let ports = choose(Some(9000), &folder).expect("ports");
        assert_eq!(ports.grpc(Part::Central).port(), 9000);
        assert_eq!(ports.http(Part::Server).port(), 9009);
    }
}
