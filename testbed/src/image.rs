//! The Debian image that all machines are overlays of: built once for this host, then found.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::command;

const CACHE: &str = "/var/cache/fleet-testbed";
const RECIPE: &str = include_str!("image.sh");

/// Returns the image's directory; builds it first if this host has none of this recipe (about 30 s).
///
/// A lock makes a second caller wait for the first one's build. An image appears by a rename, so
/// one whose build was cut short is never used.
pub(crate) fn find_or_build() -> Result<PathBuf, Error> {
    let cache = Path::new(CACHE);
    let image = cache.join(format!("image-{:016x}", fingerprint(RECIPE)));
    if image.exists() {
        return Ok(image);
    }
    fs::create_dir_all(cache).map_err(Error::file("create", cache))?;
    let lock_path = cache.join("lock");
    let lock = fs::File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
    lock.lock().map_err(Error::file("lock", &lock_path))?;
    if image.exists() {
        return Ok(image);
    }
    eprintln!(
        "testbed: building the machines' image in {} (once, about 30 s)",
        image.display()
    );
    let building = cache.join("building");
    if building.exists() {
        fs::remove_dir_all(&building).map_err(Error::file("remove", &building))?;
    }
    let script = cache.join("image.sh");
    fs::write(&script, RECIPE).map_err(Error::file("write", &script))?;
    // Not limited as other commands are: a slow mirror is the user's to judge.
    let mut build = std::process::Command::new("sh");
    build.arg(&script).arg(&building);
    command::capture(
        &mut build,
        &format!("sh {} {}", script.display(), building.display()),
        b"",
    )?
    .success()?;
    fs::rename(&building, &image).map_err(Error::file("rename", &building))?;
    Ok(image)
}

/// FNV-1a: names a recipe; stable across Rust versions, which the standard hashers are not.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
