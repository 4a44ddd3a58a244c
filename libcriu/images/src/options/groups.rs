//! Commands, and the sections of the documentation.

/// A command of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Dump,
    PreDump,
    Restore,
    Check,
    Swrk,
    Service,
    PageServer,
    LazyPages,
    Dedup,
    Cpuinfo,
}

impl Command {
    pub const ALL: &[Command] = &[
        Command::Dump,
        Command::PreDump,
        Command::Restore,
        Command::Check,
        Command::Swrk,
        Command::Service,
        Command::PageServer,
        Command::LazyPages,
        Command::Dedup,
        Command::Cpuinfo,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Command::Dump => "dump",
            Command::PreDump => "pre-dump",
            Command::Restore => "restore",
            Command::Check => "check",
            Command::Swrk => "swrk",
            Command::Service => "service",
            Command::PageServer => "page-server",
            Command::LazyPages => "lazy-pages",
            Command::Dedup => "dedup",
            Command::Cpuinfo => "cpuinfo",
        }
    }

    pub fn by_name(name: &str) -> Option<Command> {
        Command::ALL.iter().copied().find(|c| c.name() == name)
    }

    /// How it is called and what it does.
    pub fn synopsis(self) -> (&'static str, &'static str) {
        match self {
            Command::Dump => ("dump -t PID [OPTIONS]", "save a process tree, then end it"),
            Command::PreDump => ("pre-dump -t PID [OPTIONS]", "save the memory of a tree that runs on"),
            Command::Restore => ("restore [OPTIONS] [--exec-cmd -- CMD...]", "bring a saved tree back"),
            Command::Check => {
                ("check [-t PID] [--feature NAME]", "say what this kernel can do, or whether PID could be dumped")
            }
            Command::Swrk => ("swrk FD", "serve requests on an inherited socket"),
            Command::Service => ("service [--address PATH]", "serve requests on a socket with a name"),
            Command::PageServer => ("page-server [OPTIONS]", "receive memory from a dump elsewhere"),
            Command::LazyPages => ("lazy-pages [OPTIONS]", "deliver memory to restored tasks when they touch it"),
            Command::Dedup => ("dedup [-D DIR]", "punch what a later dump replaced out of earlier ones"),
            Command::Cpuinfo => {
                ("cpuinfo {dump|check} [OPTIONS]", "save what the CPU can do, or compare it with an image")
            }
        }
    }
}

/// A section of the help text and the man page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    General,
    Tree,
    Files,
    Memory,
    Network,
    Namespaces,
    Cgroups,
    Security,
    Check,
    Service,
}

impl Section {
    pub const ALL: &[Section] = &[
        Section::General,
        Section::Tree,
        Section::Files,
        Section::Memory,
        Section::Network,
        Section::Namespaces,
        Section::Cgroups,
        Section::Security,
        Section::Check,
        Section::Service,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Section::General => "General",
            Section::Tree => "Process tree",
            Section::Files => "Files and terminals",
            Section::Memory => "Memory and its migration",
            Section::Network => "Sockets and network",
            Section::Namespaces => "Namespaces and mounts",
            Section::Cgroups => "Control groups",
            Section::Security => "Security",
            Section::Check => "Check",
            Section::Service => "Service and transport of pages",
        }
    }
}
