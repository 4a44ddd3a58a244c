//! `criu cpuinfo dump` and `criu cpuinfo check`.

use criu_engine::cpuinfo;
use criu_images::ImageDir;
use criu_images::options::Settings;

use crate::prepare::{Directories, start_log};
use crate::{Failure, print};

/// Saves what this CPU can do, or compares it with what was saved.
pub fn cpuinfo(settings: &Settings, words: &[String]) -> Result<u8, Failure> {
    let dirs = Directories::open(settings)?;
    start_log(settings, &dirs.work)?;
    let images = ImageDir::new(dirs.images);
    match words {
        [word] if word == "dump" => cpuinfo::dump(&images)?,
        [word] if word == "check" => {
            cpuinfo::check(&images, settings.msg.cpu_cap)?;
            print::line("This CPU can do what that of the dump can.");
        }
        _ => return Err(Failure::Usage("cpuinfo needs one of: dump, check".into())),
    }
    Ok(0)
}
