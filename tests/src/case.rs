//! A subject in one mode over one route.

use crate::subject::Subject;

/// How a case goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No engine at all: the subject itself must work on this machine.
    Bare,
    /// Dumped and killed, restored, checked.
    Plain,
    /// Dumped and left running: the original checks, then the copy is restored and checks.
    Leave,
    /// Dumped, restored, dumped, restored, checked.
    Twice,
    /// The dump is refused by name and the subject checks itself unharmed.
    Refused,
}

impl Mode {
    pub const ALL: [Mode; 5] = [Mode::Bare, Mode::Plain, Mode::Leave, Mode::Twice, Mode::Refused];

    pub fn name(self) -> &'static str {
        match self {
            Mode::Bare => "bare",
            Mode::Plain => "plain",
            Mode::Leave => "leave",
            Mode::Twice => "twice",
            Mode::Refused => "refused",
        }
    }
}

/// The surface by which the engine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A C program linked with `-lcriu`.
    Api,
    /// The `criu` command.
    Command,
}

impl Route {
    pub const ALL: [Route; 2] = [Route::Api, Route::Command];

    pub fn name(self) -> &'static str {
        match self {
            Route::Api => "api",
            Route::Command => "command",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Case {
    pub subject: Subject,
    pub mode: Mode,
    pub route: Route,
}

impl Case {
    /// `pipe_data/plain/api`
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.subject.name, self.mode.name(), self.route.name())
    }

    pub fn find(subjects: &[Subject], name: &str) -> Option<Case> {
        subjects.iter().flat_map(all).find(|c| c.name() == name)
    }
}

/// Every case of a subject.
pub fn all(subject: &Subject) -> Vec<Case> {
    let case = |mode, route| Case { subject: subject.clone(), mode, route };
    let mut cases = Vec::new();
    if !subject.dumps_itself {
        cases.push(case(Mode::Bare, Route::Api));
    }
    // A program that dumps itself has one route for the dump; the restore takes both.
    for route in Route::ALL {
        if subject.refused.is_some() {
            cases.push(case(Mode::Refused, route));
            continue;
        }
        for mode in [Mode::Plain, Mode::Leave, Mode::Twice] {
            if subject.modes.iter().any(|m| m == mode.name()) {
                cases.push(case(mode, route));
            }
        }
    }
    cases
}
