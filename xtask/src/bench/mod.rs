//! bench
use crate::workspace::Workspace;
pub fn run(_workspace: &Workspace, _: &[String]) -> Result<(), String> {
    Err("pending".into())
}
