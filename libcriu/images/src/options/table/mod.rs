//! The rows of the table, by section.

mod cgroups;
mod check;
mod files;
mod general;
mod memory;
mod namespaces;
mod network;
mod security;
mod service;
mod tree;

use super::OptionSpec;

const TABLES: &[&[OptionSpec]] = &[
    general::OPTIONS,
    tree::OPTIONS,
    files::OPTIONS,
    memory::OPTIONS,
    network::OPTIONS,
    namespaces::OPTIONS,
    cgroups::OPTIONS,
    security::OPTIONS,
    check::OPTIONS,
    service::OPTIONS,
];

/// Every option, in the order of the documentation's sections.
pub fn options() -> impl Iterator<Item = &'static OptionSpec> {
    TABLES.iter().copied().flatten()
}
