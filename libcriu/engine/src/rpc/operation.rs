//! What each type of request does.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

use criu_images::ImageDir;
use criu_images::messages::{
    CriuDumpResp, CriuFeatures, CriuLogLine, CriuOpts, CriuReq, CriuReqType, CriuResp, CriuRestoreResp, CriuVersion,
};
use criu_images::options::Settings;

use super::connection::Connection;
use super::operator::{RpcOperator, Wishes};
use super::settings::{self, Effective};
use super::{Answer, Session, Transport, request, response};
use crate::error::{Error, Phase, Result};
use crate::log::Out;
use crate::script::ActionScripts;
use crate::{check, cpuinfo, log as oplog, not_yet};

/// The default log of a request.
const LOG_FILE: &str = "criu.log";

/// The command that takes this process's place after a restore, as the parent of the restored tree.
pub struct ExecCommand {
    args: Vec<String>,
    init_pid: i32,
}

impl ExecCommand {
    /// Never returns but with the reason why it could not be executed.
    pub fn exec(self) -> Error {
        let Some((program, args)) = self.args.split_first() else {
            return Error::new(Phase::Service, "exec_cmd", "it is empty");
        };
        let e = Command::new(program).args(args).env("CRTOOLS_INIT_PID", self.init_pid.to_string()).exec();
        Error::os(Phase::Service, format!("exec_cmd `{program}`"), "execve", e)
    }
}

impl Session {
    pub(super) fn dispatch(&self, request: CriuReq) -> Result<Answer> {
        let kind = CriuReqType::try_from(request.r#type).map_err(|_| {
            Error::new(Phase::Service, "request", format!("type {} is not known", request.r#type)).errno(libc::EBADRQC)
        })?;
        match kind {
            CriuReqType::Version => Ok(version().into()),
            CriuReqType::FeatureCheck => Ok(features(&request).into()),
            CriuReqType::Check => self.check(request).map(Answer::from),
            CriuReqType::Dump => self.dump(request).map(Answer::from),
            CriuReqType::Preflight => self.preflight(request).map(Answer::from),
            CriuReqType::Restore => self.restore(request),
            CriuReqType::PreDump | CriuReqType::SinglePreDump => Err(not_yet::request("pre-dump")),
            CriuReqType::PageServer | CriuReqType::PageServerChld => Err(not_yet::request("page-server")),
            CriuReqType::CpuinfoDump | CriuReqType::CpuinfoCheck => self.cpuinfo(request, kind).map(Answer::from),
            CriuReqType::WaitPid => self.wait_pid(&request).map(Answer::from),
            CriuReqType::Empty
            | CriuReqType::Notify
            | CriuReqType::Progress
            | CriuReqType::Log
            | CriuReqType::Cancel => {
                Err(Error::new(Phase::Service, "request", format!("type {} asks for nothing", kind.as_str_name()))
                    .errno(libc::EBADRQC))
            }
        }
    }

    fn check(&self, request: CriuReq) -> Result<CriuResp> {
        if let Some(opts) = request.opts {
            let effective = self.effective(opts)?;
            if let Some(images) = request::images_dir(&effective.settings.msg, self.peer)? {
                let work = request::work_dir(&effective.settings, self.peer)?.unwrap_or(images);
                self.start_log(&effective, work.as_fd())?;
            }
        }
        check::check(check::Level::Basic).refuse()?;
        Ok(response::success(CriuReqType::Check as i32))
    }

    fn dump(&self, request: CriuReq) -> Result<CriuResp> {
        let prepared = self.prepare(request, "dump")?;
        let (options, is_target) = request::dump_options(self, prepared.opts, prepared.dirs)?;
        let mut operator = self.operator(prepared.wishes, is_target, prepared.scripts);
        let outcome = guarded(|| crate::dump(&options, &mut operator))?;
        outcome.stats.write(&options.work_dir).unwrap_or_else(|e| log::warn!("{e}"));
        if options.msg.display_stats() {
            log::info!("{}", outcome.stats);
        }
        Ok(CriuResp {
            dump: Some(CriuDumpResp { restored: Some(false) }),
            ..response::success(CriuReqType::Dump as i32)
        })
    }

    fn preflight(&self, request: CriuReq) -> Result<CriuResp> {
        let prepared = self.prepare(request, "preflight")?;
        let extended = prepared.opts.extended();
        let (options, is_target) = request::dump_options(self, prepared.opts, prepared.dirs)?;
        let mut operator =
            self.operator(Wishes { notify: false, ..prepared.wishes }, is_target, ActionScripts::default());
        let found = guarded(|| crate::preflight(&options, &mut operator))?;
        Ok(response::preflight(found, extended))
    }

    fn restore(&self, request: CriuReq) -> Result<Answer> {
        let prepared = self.prepare(request, "restore")?;
        let exec_cmd = prepared.opts.exec_cmd.clone();
        if !exec_cmd.is_empty() && self.transport == Transport::Service {
            return Err(Error::new(Phase::Options, "exec_cmd", "a service does not execute commands for its clients")
                .errno(libc::EBADRQC));
        }
        let (options, _lent) = request::restore_options(self, prepared.opts, prepared.dirs)?;
        let mut operator = self.operator(prepared.wishes, false, prepared.scripts);
        let outcome = guarded(|| crate::restore(&options, &mut operator))?;
        outcome.stats.write(&options.work_dir).unwrap_or_else(|e| log::warn!("{e}"));
        if options.msg.display_stats() {
            log::info!("{}", outcome.stats);
        }
        let response = CriuResp {
            restore: Some(CriuRestoreResp { pid: outcome.pid }),
            ..response::success(CriuReqType::Restore as i32)
        };
        let then = (!exec_cmd.is_empty()).then_some(ExecCommand { args: exec_cmd, init_pid: outcome.pid });
        Ok(Answer { response, then })
    }

    fn cpuinfo(&self, request: CriuReq, kind: CriuReqType) -> Result<CriuResp> {
        let effective = self.effective(request.opts.unwrap_or(CriuOpts { images_dir_fd: -1, ..Default::default() }))?;
        let (images, work) = request::directories(&effective.settings, self.peer)?;
        self.start_log(&effective, work.as_fd())?;
        let images = ImageDir::new(images);
        if kind == CriuReqType::CpuinfoDump {
            cpuinfo::dump(&images)?;
        } else {
            cpuinfo::check(&images, effective.settings.msg.cpu_cap)?;
        }
        Ok(response::success(kind as i32))
    }

    /// A request's options with config files before and behind them.
    fn effective(&self, opts: CriuOpts) -> Result<Effective> {
        settings::merge(self.defaults.as_ref().map_err(Error::clone)?, opts)
    }

    /// What every operation begins with: options present, directories open, log started, nothing asked that is not there.
    fn prepare(&self, request: CriuReq, command: &str) -> Result<Prepared> {
        let opts = request.opts.ok_or_else(|| {
            Error::new(Phase::Options, "request", format!("a {command} needs opts")).errno(libc::EBADRQC)
        })?;
        let image_dir = match opts.images_dir_fd {
            -1 => opts.images_dir.clone().unwrap_or_default(),
            fd => format!("/proc/{}/fd/{fd}", self.peer.pid()),
        };
        let effective = self.effective(opts)?;
        let dirs = request::directories(&effective.settings, self.peer)?;
        self.start_log(&effective, dirs.1.as_fd())?;
        let Settings { msg: opts, command } = effective.settings;
        not_yet::refuse(&opts)?;
        not_yet::refuse_command(&command)?;
        let deadline = match opts.deadline_ms() {
            0 => None,
            ms => Instant::now().checked_add(Duration::from_millis(ms)),
        };
        let wishes = Wishes {
            notify: opts.notify_scripts(),
            progress: opts.progress(),
            is_target: false,
            deadline,
            is_parent: opts.extended() && opts.rst_sibling(),
        };
        let scripts = ActionScripts { scripts: command.action_scripts, image_dir: image_dir.into() };
        Ok(Prepared { opts, dirs, wishes, scripts })
    }

    fn operator(&self, wishes: Wishes, is_target: bool, scripts: ActionScripts) -> RpcOperator<'_> {
        RpcOperator::new(&self.connection, Wishes { is_target, ..wishes }, scripts)
    }

    /// Starts the log of a request in its work directory (or on standard error).
    fn start_log(&self, effective: &Effective, work_dir: BorrowedFd<'_>) -> Result<()> {
        let opts = &effective.settings.msg;
        let name = opts.log_file.as_deref().unwrap_or(LOG_FILE);
        let out = if opts.log_to_stderr() {
            Out::Stderr
        } else if effective.log_from_config {
            Out::File(oplog::open_log(work_dir, name)?)
        } else {
            Out::File(oplog::create_file(work_dir, name)?)
        };
        let level = opts.log_level.unwrap_or(oplog::DEFAULT_LEVEL);
        let sink = opts.log_messages.map(|level| self.log_sink(level)).transpose()?;
        oplog::start(oplog::Setup { level, out, log_pid: opts.log_pid(), sink });
        log::info!("criu 4.2, request of pid {}", self.peer.pid());
        for remark in &effective.remarks {
            log::warn!("{remark}");
        }
        Ok(())
    }

    /// Sends log lines up to `level` to the client; one that does not read loses them.
    fn log_sink(&self, level: i32) -> Result<oplog::Sink> {
        let fd = self.connection.fd().try_clone_to_owned();
        let connection = Connection::new(fd.map_err(|e| Error::os(Phase::Service, "the connection", "dup", e))?);
        let line = move |level: u32, text: &str| {
            connection.offer(&CriuResp {
                r#type: CriuReqType::Log as i32,
                success: true,
                log: Some(CriuLogLine { level: Some(level), text: Some(text.to_owned()) }),
                ..Default::default()
            });
        };
        Ok(oplog::Sink { level, line: Box::new(line) })
    }
}

/// A request on the point of becoming an operation.
struct Prepared {
    opts: CriuOpts,
    /// Images and work directory.
    dirs: (OwnedFd, OwnedFd),
    wishes: Wishes,
    scripts: ActionScripts,
}

/// Runs the engine; a defect in it becomes an error of the request, its guards having put the target back.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(Error::new(Phase::Service, "the engine", format!("a defect: {text}")))
    })
}

fn version() -> CriuResp {
    CriuResp {
        version: Some(CriuVersion { major_number: 4, minor_number: 2, ..Default::default() }),
        ..response::success(CriuReqType::Version as i32)
    }
}

/// Answers the features that were asked about.
fn features(request: &CriuReq) -> CriuResp {
    let asked = request.features.unwrap_or_default();
    let answer = |asked: Option<bool>, name: &str| asked.filter(|&a| a).map(|_| check::has_feature(name));
    CriuResp {
        features: Some(CriuFeatures {
            mem_track: answer(asked.mem_track, "mem_dirty_track"),
            lazy_pages: answer(asked.lazy_pages, "uffd-noncoop"),
            pidfd_store: answer(asked.pidfd_store, "pidfd_store"),
        }),
        ..response::success(CriuReqType::FeatureCheck as i32)
    }
}
