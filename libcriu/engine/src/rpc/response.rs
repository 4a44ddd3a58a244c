//! Builds responses and keeps them within the size that clients can read.

use criu_images::messages::{CriuError, CriuReqType, CriuResp};
use prost::Message;

use super::connection::{MAX_EXTENDED_RESPONSE_BYTES, MAX_RESPONSE_BYTES};
use crate::error::{Blocker, Error, Phase};

/// A successful response of this type.
pub fn success(kind: i32) -> CriuResp {
    CriuResp { r#type: kind, success: true, ..Default::default() }
}

/// The failure of a request; the structured error goes only to clients that know it.
pub fn failure(kind: i32, error: &Error, extended: bool) -> CriuResp {
    let mut response = CriuResp {
        r#type: kind,
        success: false,
        cr_errno: Some(error.errno),
        cr_errmsg: Some(error.to_string()),
        ..Default::default()
    };
    if extended {
        response.error = Some(error_message(error));
        response.blockers = blockers(error.phase, &error.blockers);
    }
    fit(response, extended)
}

/// The answer to a preflight: successful when nothing stands in the way.
pub fn preflight(found: Vec<Blocker>, extended: bool) -> CriuResp {
    let kind = CriuReqType::Preflight as i32;
    if found.is_empty() { success(kind) } else { failure(kind, &Error::refused(Phase::Collect, found), extended) }
}

fn error_message(error: &Error) -> CriuError {
    CriuError {
        code: Some(error.phase as u32 + 1),
        pid: Some(error.pid),
        phase: Some(error.phase.name().to_owned()),
        object: Some(error.object.clone()),
        cause: Some(error.cause.clone()),
        hint: Some(error.advice().to_owned()),
        cr_errno: Some(error.errno),
    }
}

fn blockers(phase: Phase, found: &[Blocker]) -> Vec<CriuError> {
    found
        .iter()
        .map(|b| CriuError {
            code: Some(phase as u32 + 1),
            pid: Some(b.pid),
            phase: Some(phase.name().to_owned()),
            object: Some(b.object.clone()),
            cause: Some(b.cause.clone()),
            hint: Some(b.advice().to_owned()),
            cr_errno: Some(0),
        })
        .collect()
}

/// Cuts long texts, then the end of the list of blockers, saying how many are not shown.
fn fit(mut response: CriuResp, extended: bool) -> CriuResp {
    let limit = if extended { MAX_EXTENDED_RESPONSE_BYTES } else { MAX_RESPONSE_BYTES };
    if response.encoded_len() <= limit {
        return response;
    }
    if let Some(text) = &mut response.cr_errmsg {
        cut(text);
    }
    for e in response.error.iter_mut().chain(&mut response.blockers) {
        for text in [&mut e.object, &mut e.cause, &mut e.hint].into_iter().flatten() {
            cut(text);
        }
    }
    let all = response.blockers.len();
    while response.encoded_len() > limit - 256 && response.blockers.pop().is_some() {}
    if response.blockers.len() < all {
        let cause = format!("{} more are in the log", all - response.blockers.len());
        let (object, hint) = ("the list".to_owned(), "raise the log level to 4 and look there".to_owned());
        response.blockers.push(CriuError {
            cause: Some(cause),
            object: Some(object),
            hint: Some(hint),
            ..Default::default()
        });
    }
    response
}

fn cut(text: &mut String) {
    const LONGEST: usize = 2000;
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(n: usize, text: &str) -> Error {
        let all = (0..n).map(|i| Blocker::new(i as i32, format!("fd {i}"), text).hint(text)).collect();
        Error::refused(Phase::Collect, all)
    }

    #[test]
    fn every_answer_fits_its_client() {
        for (n, len) in [(0, 0), (1, 100_000), (3, 5000), (5000, 20), (5000, 3000)] {
            let e = many(n, &"é".repeat(len));
            let plain = failure(1, &e, false);
            assert!(plain.encoded_len() < 8192);
            assert!(plain.blockers.is_empty() && plain.error.is_none());
            let long = failure(1, &e, true);
            assert!(long.encoded_len() <= MAX_EXTENDED_RESPONSE_BYTES);
            assert!(!long.blockers.is_empty() || n == 0);
        }
    }

    #[test]
    fn blockers_left_out_are_counted() {
        let r = failure(1, &many(5000, "cannot be saved"), true);
        let shown = r.blockers.len() - 1;
        assert_eq!(
            r.blockers.last().unwrap().cause.as_deref().unwrap(),
            format!("{} more are in the log", 5000 - shown)
        );
    }
}
