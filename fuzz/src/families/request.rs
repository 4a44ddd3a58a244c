//! A request of the RPC protocol: decoded, laid over settings, encoded again.

use criu_images::messages::{CriuReq, CriuResp};
use criu_images::options::Settings;
use prost::Message;

pub fn run(input: &[u8]) {
    if let Ok(response) = CriuResp::decode(input) {
        let again = CriuResp::decode(response.encode_to_vec().as_slice());
        assert!(again.is_ok(), "what was encoded can be decoded");
    }
    let Ok(mut request) = CriuReq::decode(input) else { return };
    let Some(mut opts) = request.opts.take() else { return };
    // It would be read; the family `config` does that.
    opts.config_file = None;
    let mut defaults = Settings::new();
    defaults.msg.images_dir = Some("/nowhere".into());
    if let Err(e) = criu_engine::parsers::merge(&defaults, opts) {
        assert!(!e.to_string().is_empty());
    }
}
