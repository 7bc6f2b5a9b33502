//! Files that other processes may read and write at the same time.

use std::fs;
use std::io::Write;
use std::path::Path;

/// Writes a file, in place at once or not at all, whoever else is writing.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = fs::File::create(&beside).and_then(|mut file| file.write_all(bytes));
    let moved = written.and_then(|()| fs::rename(&beside, path));
    if moved.is_err() {
        let _ = fs::remove_file(&beside);
    }
    moved
}
