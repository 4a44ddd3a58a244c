//! Default config files, the request, and the request's own config file: laid over each other in this order.

use std::path::Path;

use criu_images::messages::CriuOpts;
use criu_images::options::Settings;
use prost::Message;

use crate::config;
use crate::error::{Error, Phase, Result};

/// What holds for one request.
#[derive(Debug)]
pub struct Effective {
    pub settings: Settings,
    /// Lines for the log, which does not exist yet while options are read.
    pub remarks: Vec<String>,
    /// The request's config file named the log: it may then be a path.
    pub log_from_config: bool,
}

/// Merges a request's options over `defaults`, then its own config file over both.
///
/// # Errors
/// EBADRQC: the config file is wrong. A missing one is ignored.
pub fn merge(defaults: &Settings, request: CriuOpts) -> Result<Effective> {
    let mut settings = defaults.clone();
    if request.work_dir_fd.is_some_and(|fd| fd != -1) {
        settings.command.work_dir = None;
    }
    let log_by_default = request.log_file.is_none() && defaults.msg.log_file.is_some();
    // By protobuf's own rules: what is set later wins, lists are joined.
    settings.msg.merge(request.encode_to_vec().as_slice()).map_err(|e| {
        Error::new(Phase::Options, "request", format!("its options do not merge: {e}")).errno(libc::EBADRQC)
    })?;
    let mut effective = Effective { settings, remarks: Vec::new(), log_from_config: log_by_default };
    if let Some(path) = request.config_file.as_deref().filter(|p| !p.is_empty()) {
        apply(path, &mut effective)?;
    }
    Ok(effective)
}

/// Applies the request's config file. A directory it names takes the place of the request's descriptor.
fn apply(path: &str, effective: &mut Effective) -> Result<()> {
    let mut own = Settings::new();
    if !config::apply_if_there(Path::new(path), &mut own)? {
        effective.remarks.push(format!("config file {path}: there is none, it is ignored"));
        return Ok(());
    }
    effective.log_from_config |= own.msg.log_file.is_some();
    let settings = &mut effective.settings;
    let dir_fd = settings.msg.images_dir_fd;
    // A second time over the real thing, so that every setter sees what came before it.
    config::apply_if_there(Path::new(path), settings)?;
    settings.msg.images_dir_fd = if own.msg.images_dir.is_some() { -1 } else { dir_fd };
    if own.command.work_dir.is_some() {
        settings.msg.work_dir_fd = None;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> String {
        let path = std::env::temp_dir().join(format!("criu-rpc-{name}-{}.conf", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn defaults(text: &str) -> Settings {
        let mut s = Settings::new();
        config::apply_text(text, "defaults", &mut s).unwrap();
        s
    }

    #[test]
    fn the_request_overrides_defaults_and_its_own_file_overrides_it() {
        let own = file("own", "log-file /var/log/x\ntimeout 3\nimages-dir /i\nwork-dir /w\nno-file-locks");
        let request = CriuOpts {
            images_dir_fd: 9,
            work_dir_fd: Some(8),
            timeout: Some(2),
            tcp_close: Some(false),
            file_locks: Some(true),
            log_file: Some("req.log".into()),
            config_file: Some(own.clone()),
            ..Default::default()
        };
        let base = defaults("timeout 1\ntcp-close\nshell-job\nexternal a\nwork-dir /d");
        let e = merge(&base, request.clone()).unwrap();
        let m = &e.settings.msg;
        assert_eq!(
            (m.timeout, m.tcp_close, m.shell_job, m.file_locks),
            (Some(3), Some(false), Some(true), Some(false))
        );
        assert_eq!((m.images_dir_fd, m.images_dir.as_deref(), m.work_dir_fd), (-1, Some("/i"), None));
        assert_eq!(e.settings.command.work_dir.as_deref(), Some("/w"));
        assert!(e.log_from_config);
        std::fs::remove_file(own).unwrap();

        let e = merge(&base, request).unwrap();
        assert_eq!(e.remarks.len(), 1, "the file is gone now, which is only worth a remark");
        assert_eq!((e.settings.msg.images_dir_fd, e.settings.msg.work_dir_fd), (9, Some(8)));
        assert_eq!(e.settings.command.work_dir, None, "the request's descriptor overrides the default directory");
        assert!(!e.log_from_config);
    }

    #[test]
    fn a_wrong_config_file_is_named_with_its_line() {
        let own = file("wrong", "shell-job\nfoo");
        let e = merge(&Settings::new(), CriuOpts { config_file: Some(own.clone()), ..Default::default() }).unwrap_err();
        assert_eq!(e.errno, libc::EBADRQC);
        assert!(e.to_string().contains(&format!("{own}:2:")), "{e}");
        std::fs::remove_file(own).unwrap();
    }
}
