//! Where things are kept that save time and can be made again.

use std::env;
use std::path::PathBuf;

/// The variable that names the folder; set to nothing, there is none.
const CACHE_VARIABLE: &str = "METAL_ATTENTION_CACHE";

/// The folder that the user names, else one among the user's caches; `None` where neither is to be had.
pub(crate) fn folder() -> Option<PathBuf> {
    match env::var_os(CACHE_VARIABLE) {
        Some(folder) => Some(PathBuf::from(folder)).filter(|folder| !folder.as_os_str().is_empty()),
        None => Some(users_caches()?.join("metal-attention")),
    }
}

fn users_caches() -> Option<PathBuf> {
    // A relative path would be another folder at each start.
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        Some(variable("HOME")?.join("Library/Caches"))
    } else {
        variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))
    }
}
