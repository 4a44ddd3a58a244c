use std::ffi::{c_char, c_int};

/// What kind of failure it was. Numbers are never used again for something else.
#[repr(C)]
#[allow(dead_code)]
pub enum criu_error_code {
    /// The engine tried and failed.
    CRIU_ERR_ENGINE = 1,
    /// State that cannot be saved or restored; see the blockers.
    CRIU_ERR_BLOCKED = 2,
    /// Options that are wrong or contradict each other.
    CRIU_ERR_OPTIONS = 3,
    CRIU_ERR_NO_PROCESS = 4,
    /// A pid to be restored is taken.
    CRIU_ERR_PID_TAKEN = 5,
    CRIU_ERR_CANCELLED = 6,
    CRIU_ERR_DEADLINE = 7,
    /// No worker could be started, no service reached.
    CRIU_ERR_CONNECT = 8,
    /// The connection broke: the worker died.
    CRIU_ERR_TRANSPORT = 9,
    /// The other side does not know this request.
    CRIU_ERR_UNSUPPORTED = 10,
    /// The other side answered something else.
    CRIU_ERR_PROTOCOL = 11,
    /// A callback said no.
    CRIU_ERR_CALLBACK = 12,
    /// An argument the library itself refuses.
    CRIU_ERR_ARGUMENT = 13,
    CRIU_ERR_NO_MEMORY = 14,
    /// A defect of the library.
    CRIU_ERR_INTERNAL = 15,
}

/// Why an operation failed, or one thing that stands in its way. Strings are never NULL, and empty when there is nothing
/// to say. Later versions may add fields at the end.
#[repr(C)]
#[derive(Debug)]
pub struct criu_error {
    /// One of enum criu_error_code.
    pub code: c_int,
    /// A positive errno, 0 for none.
    pub error_number: c_int,
    /// The task concerned; 0 when it is about no single task.
    pub pid: c_int,
    /// The phase of the operation: "freeze", "collect", "load", ...; "client" when the engine was not reached.
    pub phase: *const c_char,
    /// The object: "fd 7 (unix socket ino 91822)".
    pub object: *const c_char,
    /// Why.
    pub cause: *const c_char,
    /// The option or step that would help; an error of an operation always has one.
    pub hint: *const c_char,
    /// All of it in one line.
    pub message: *const c_char,
}
