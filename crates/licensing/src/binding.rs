//! Which licenses may live in which containers.

use crate::options::Options;
use crate::set::named_enum;

named_enum! {
    /// What holds a container's state and keys together.
    enum ContainerKind, unknown UnknownContainerKind;
    /// A set of container kinds.
    set ContainerKindSet;
    /// A plain folder: for development only, never converted into another kind.
    Folder = "folder",
    /// One machine.
    Machine = "machine",
    /// A named volume of a container engine.
    Volume = "volume",
    /// A persistent volume of a Kubernetes cluster.
    Kubernetes = "kubernetes",
    /// A PKCS#11 token.
    Token = "token",
    /// A container in the cloud.
    Cloud = "cloud",
}

named_enum! {
    /// A place a license may be allowed to live in.
    enum Binding, unknown UnknownBinding;
    /// The value of the option `bindings`: where a license may live.
    set Bindings;
    /// A plain folder.
    Folder = "folder",
    /// A machine that is not virtual.
    Machine = "machine",
    /// In addition to `machine`: that machine may be virtual.
    Vm = "vm",
    /// A named volume of a container engine.
    Volume = "volume",
    /// A persistent volume of a Kubernetes cluster.
    Kubernetes = "kubernetes",
    /// A PKCS#11 token.
    Token = "token",
    /// A container in the cloud.
    Cloud = "cloud",
}

impl Bindings {
    /// What holds when the vendor says nothing: places that cannot be copied by copying files.
    pub const DEFAULT: Self = Self::of(&[Binding::Machine, Binding::Token, Binding::Cloud]);
}

impl ContainerKind {
    /// The binding that a license needs for this kind of container.
    #[must_use]
    pub const fn binding(self) -> Binding {
        match self {
            Self::Folder => Binding::Folder,
            Self::Machine => Binding::Machine,
            Self::Volume => Binding::Volume,
            Self::Kubernetes => Binding::Kubernetes,
            Self::Token => Binding::Token,
            Self::Cloud => Binding::Cloud,
        }
    }
}

/// A license that may not live in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the license may live in {allowed}, not in {wanted}", allowed = Listed(*allowed))]
pub struct BindingForbidden {
    /// What the license allows.
    pub allowed: Bindings,
    /// What this container would need.
    pub wanted: Binding,
}

struct Listed(Bindings);

impl std::fmt::Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { f.write_str("no container") } else { self.0.fmt(f) }
    }
}

/// Checks whether a license with these bindings may live in a container of `kind`; `virtual_machine` says whether the
/// machine below is one.
///
/// # Errors
/// [`BindingForbidden`] with the binding that is missing.
pub fn may_live(bindings: Bindings, kind: ContainerKind, virtual_machine: bool) -> Result<(), BindingForbidden> {
    let needs_vm = virtual_machine && kind == ContainerKind::Machine;
    [Some(kind.binding()), needs_vm.then_some(Binding::Vm)]
        .into_iter()
        .flatten()
        .find(|wanted| !bindings.contains(*wanted))
        .map_or(Ok(()), |wanted| Err(BindingForbidden { allowed: bindings, wanted }))
}

/// The bindings of a product item as the indivisible whole it is: every module that sets its own narrows them.
pub fn of_whole<'a>(parent: &Options, modules: impl IntoIterator<Item = &'a Options>) -> Bindings {
    let own = parent.bindings.unwrap_or(Bindings::DEFAULT);
    modules.into_iter().filter_map(|module| module.bindings).fold(own, Bindings::intersection)
}
