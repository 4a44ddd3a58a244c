//! Operations: a request by options, or one that was made by hand, on a worker or a service.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use criu_client::{Client, Code, Dumped, Error, Iterations, Transport};
use criu_images::messages::{CriuFeatures, CriuOpts, CriuReq};
use prost::Message;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::callbacks::{Calls, Functions};
use crate::{error, worker};

/// Where an engine is: one of these, else the package's own worker.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Engine {
    binary: Option<PathBuf>,
    address: Option<PathBuf>,
    fd: Option<RawFd>,
}

impl Engine {
    fn transport(self) -> Transport {
        match self {
            Engine { binary: Some(path), .. } => Transport::Binary(path),
            Engine { address: Some(path), .. } => Transport::Address(path),
            Engine { fd: Some(fd), .. } => Transport::Fd(fd),
            _ => worker::transport(),
        }
    }
}

/// Cancels the operations it is given to, from any thread, before or while they run.
#[pyclass(frozen, module = "pycriu")]
#[derive(Default)]
pub struct Canceller {
    state: Arc<Mutex<Cancelling>>,
}

#[derive(Default)]
struct Cancelling {
    cancelled: bool,
    running: Vec<criu_client::Canceller>,
}

#[pymethods]
impl Canceller {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Stops the operation; it then raises `Cancelled`, unless it was through.
    fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled = true;
        for one in &state.running {
            one.cancel();
        }
    }

    /// Whether `cancel` was called.
    #[getter]
    fn cancelled(&self) -> bool {
        self.lock().cancelled
    }
}

impl Canceller {
    fn lock(&self) -> MutexGuard<'_, Cancelling> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client and what is called while its operation runs.
struct Run {
    client: Client,
    calls: Calls,
    token: Option<Arc<Mutex<Cancelling>>>,
}

impl Run {
    fn new(engine: Engine, functions: Functions, deadline: Option<f64>, token: Option<&Canceller>) -> PyResult<Self> {
        let deadline = deadline.map(Duration::try_from_secs_f64).transpose();
        let deadline = deadline.map_err(|e| PyValueError::new_err(format!("deadline, in seconds: {e}")))?;
        let mut client = Client::new();
        client.transport = engine.transport();
        client.deadline = deadline;
        let token = token.map(|t| Arc::clone(&t.state));
        let asked = token.clone();
        let is_cancelled =
            move || asked.as_ref().is_some_and(|t| t.lock().unwrap_or_else(PoisonError::into_inner).cancelled);
        let calls = Calls::new(functions, client.canceller(), Box::new(is_cancelled));
        Ok(Run { client, calls, token })
    }

    /// Runs the operation with the interpreter unlocked.
    fn go<T: Send>(
        &mut self,
        py: Python<'_>,
        operation: impl Send + FnOnce(&Client, &mut Calls) -> Result<T, Error>,
    ) -> PyResult<T> {
        let Run { client, calls, token } = self;
        let done = py.detach(|| {
            if let Some(token) = token {
                let mut state = token.lock().unwrap_or_else(PoisonError::into_inner);
                if state.cancelled {
                    return Err(Error::new(Code::Cancelled, "the operation", "cancelled before it began"));
                }
                state.running.push(client.canceller());
            }
            let done = operation(client, calls);
            if let Some(token) = token {
                // Operations that share a token and end are cancelled at worst once more, which does nothing.
                token.lock().unwrap_or_else(PoisonError::into_inner).running.retain(|c| !c.is(&client.canceller()));
            }
            done
        });
        match (calls.raised.take(), done) {
            (Some(raised), _) => Err(raised),
            (None, done) => done.map_err(|e| error::operation(py, e)),
        }
    }
}

/// Runs one operation with options in wire format. What it returns depends on the operation.
#[pyfunction]
#[pyo3(signature = (what, opts, engine, functions, deadline, canceller))]
pub fn run<'py>(
    py: Python<'py>,
    what: &str,
    opts: &[u8],
    engine: Engine,
    functions: Functions,
    deadline: Option<f64>,
    canceller: Option<&Canceller>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut run = Run::new(engine, functions, deadline, canceller)?;
    let undecodable = |e: prost::DecodeError| PyValueError::new_err(format!("options: {e}"));
    if what == "features" {
        let wanted = CriuFeatures::decode(opts).map_err(undecodable)?;
        let features = run.go(py, |client, _| client.features(wanted))?;
        return Ok(PyBytes::new(py, &features.encode_to_vec()).into_any());
    }
    run.client.opts = CriuOpts::decode(opts).map_err(undecodable)?;
    Ok(match what {
        "dump" => {
            let restored = run.go(py, |client, calls| Ok(client.dump(calls)? == Dumped::Restored))?;
            pyo3::types::PyBool::new(py, restored).to_owned().into_any()
        }
        "pre_dump" => run.go(py, |client, calls| client.pre_dump(calls))?.into_pyobject(py)?.into_any(),
        "preflight" => error::blockers(py, run.go(py, |client, calls| client.preflight(calls))?)?.into_any(),
        "restore" => run.go(py, |client, calls| client.restore(calls))?.into_pyobject(py)?.into_any(),
        "restore_child" => run.go(py, |client, calls| client.restore_child(calls))?.into_pyobject(py)?.into_any(),
        "check" => run.go(py, |client, calls| client.check(calls))?.into_pyobject(py)?.into_any(),
        "version" => {
            let v = run.go(py, |client, _| client.version())?;
            let dict = PyDict::new(py);
            dict.set_item("major", v.major_number)?;
            dict.set_item("minor", v.minor_number)?;
            dict.set_item("sublevel", v.sublevel())?;
            dict.set_item("name", v.name)?;
            dict.into_any()
        }
        other => return Err(PyValueError::new_err(format!("no operation {other:?}"))),
    })
}

/// Requests as they are, in wire format; with `keep_open` in one of them, the next goes to the same engine.
#[pyclass(frozen, module = "pycriu")]
#[derive(Default)]
pub struct Connection {
    open: Mutex<Option<Iterations>>,
}

#[pymethods]
impl Connection {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Sends a `criu_req` and returns the `criu_resp`.
    fn exchange<'py>(
        &self,
        py: Python<'py>,
        request: &[u8],
        engine: Engine,
        functions: Functions,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let request =
            CriuReq::decode(request).map_err(|e| PyValueError::new_err(format!("not a valid criu_req: {e}")))?;
        let mut run = Run::new(engine, functions, None, None)?;
        let response = run.go(py, |client, calls| {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let stays = request.keep_open();
            if !stays && open.is_none() {
                return client.exchange(request, calls);
            }
            let mut connection = match open.take() {
                Some(connection) => connection,
                None => client.iterations()?,
            };
            let response = connection.exchange(client, request, calls)?;
            *open = stays.then_some(connection);
            Ok(response)
        })?;
        Ok(PyBytes::new(py, &response.encode_to_vec()))
    }
}
