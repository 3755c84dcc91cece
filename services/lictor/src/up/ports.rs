//! Which ports are taken.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

use lictor_licensing::error::{ErrorCode, Problem};
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::services::Part;

/// Where free ports are remembered for the next start.
const FILE: &str = "ports.json";

/// gRPC and HTTP port of each service, in the order of [`Part::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ports(Vec<[u16; 2]>);

impl Ports {
    /// Address of the gRPC listener.
    pub(super) fn grpc(&self, part: Part) -> SocketAddr {
        self.at(part, 0)
    }

    /// Address of the HTTP listener.
    pub(super) fn http(&self, part: Part) -> SocketAddr {
        self.at(part, 1)
    }

    fn at(&self, part: Part, which: usize) -> SocketAddr {
        let port = self.0.get(part as usize).map_or(0, |ports| ports[which]);
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }
}

/// The usual ports, ten in a row, or free ones that stay the same over restarts.
pub(super) fn choose(base: Option<u16>, folder: &Folder) -> Result<Ports, Problem> {
    match base {
        None => Ok(Ports(Part::ALL.iter().map(|part| part.usual_ports()).collect())),
        Some(0) => match remembered(folder) {
            Some(ports) => Ok(ports),
            None => {
                let ports = free()?;
                let text = serde_json::to_string(&ports).unwrap_or_default();
                folder.replace(FILE, &text)?;
                Ok(ports)
            }
        },
        Some(base) => Ok(Ports((0..).step_by(2).take(Part::ALL.len()).map(|at| [base + at, base + at + 1]).collect())),
    }
}

fn remembered(folder: &Folder) -> Option<Ports> {
    let ports: Ports = serde_json::from_slice(&std::fs::read(folder.file(FILE)).ok()?).ok()?;
    (ports.0.len() == Part::ALL.len()).then_some(ports)
}

/// Where free ports are looked for: below those that the kernel gives to connections, one of which could take a port between
/// its choice and its use.
const RANGE: Range<u16> = 10_000..20_000;

fn free() -> Result<Ports, Problem> {
    let nothing = || {
        Problem::new(ErrorCode::Unavailable, "no ten free ports were found", "give the first of ten with --port-base")
    };
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|_| nothing())?;
    let count = RANGE.end - RANGE.start;
    let first = u16::from_be_bytes(random) % count;
    // Held until all are found, so that none is handed out twice.
    let mut held: Vec<(u16, TcpListener)> = Vec::new();
    for step in 0..count {
        let port = RANGE.start + (first + step) % count;
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|listener| (port, listener)));
        if held.len() == Part::ALL.len() * 2 {
            return Ok(Ports(held.chunks_exact(2).map(|pair| [pair[0].0, pair[1].0]).collect()));
        }
    }
    Err(nothing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_stay_the_same_over_restarts() {
        let place = tempfile::tempdir().expect("temporary folder");
        let folder = Folder::open(place.path()).expect("folder");
        let first = choose(Some(0), &folder).expect("ports");
        assert_eq!(choose(Some(0), &folder).expect("ports"), first);
        let mut all: Vec<u16> = first.0.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Part::ALL.len() * 2, "no port twice");
    }

    #[test]
    fn a_base_gives_ten_ports_in_a_row() {
        let place = tempfile::tempdir().expect("temporary folder");
        let folder = Folder::open(place.path()).expect("folder");
        let ports = choose(Some(9000), &folder).expect("ports");
        assert_eq!(ports.grpc(Part::Central).port(), 9000);
        assert_eq!(ports.http(Part::Server).port(), 9009);
    }
}
