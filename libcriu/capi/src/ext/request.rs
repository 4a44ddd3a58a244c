use std::ffi::c_int;
use std::ptr;

use criu_client::{Code, Error};
use criu_images::messages::CriuReq;
use prost::Message;

use crate::ffi;
use crate::outcome::operate;
use crate::state::Target;
use crate::types::criu_opts;

/// Longer requests are refused.
const MAX_REQUEST_BYTES: usize = 16 << 20;

/// Sends a whole request, a serialized criu_req of rpc.proto, and gives its answer, a serialized criu_resp. For bindings: their
/// options are then those of the protocol, all of them. Of `opts`, the way to the engine, callbacks and deadline count; the
/// request has options of its own.
///
/// 0: `response` has the answer of `response_size` bytes, which the caller frees by free(). A negative error, as that of
/// every operation: there is no answer, or it says no; criu_local_last_error tells.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_request(
    opts: *mut criu_opts,
    request: *const u8,
    size: usize,
    response: *mut *mut u8,
    response_size: *mut usize,
) -> c_int {
    operate(Target::Local(opts), |client, called| {
        let refused = |cause: &str| Error::new(Code::Argument, "request", cause).errno(libc::EINVAL);
        if !(ffi::write(response, ptr::null_mut()) && ffi::write(response_size, 0)) {
            return Err(refused("there is no room for the answer"));
        }
        let bytes = Some(size).filter(|&s| s <= MAX_REQUEST_BYTES).and_then(|size| ffi::bytes(request, size));
        let bytes = bytes.ok_or_else(|| refused("NULL, or of an absurd size"))?;
        let request = CriuReq::decode(&bytes[..]).map_err(|e| refused(&format!("not a valid criu_req: {e}")))?;
        let answer = client.exchange(request, called)?.encode_to_vec();
        let copy = ffi::for_caller(&answer);
        if copy.is_null() {
            return Err(Error::new(Code::NoMemory, "answer", "no memory for it").errno(libc::ENOMEM));
        }
        ffi::write(response, copy);
        ffi::write(response_size, answer.len());
        Ok(0)
    })
}
