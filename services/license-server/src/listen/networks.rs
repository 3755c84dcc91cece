//! Which networks count as local.

use crate::domain::peer::{Subnet, attached_v4, attached_v6};
use crate::surroundings::machine::Root;

/// The listed networks, and inside a container those that it is attached to. On a plain host the attached network is the
/// office or the data centre: whoever is there is not local.
#[must_use]
pub fn local_networks(listed: &[Subnet]) -> Vec<Subnet> {
    let mut networks = listed.to_vec();
    if Root::default().inside_container() {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        networks.extend(attached_v4(&read("/proc/net/route")));
        networks.extend(attached_v6(&read("/proc/net/if_inet6")));
    }
    networks
}
