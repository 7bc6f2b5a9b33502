//! How much memory a model may take.

use crate::error::LoadError;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// A context shorter than this is not worth proposing.
const LEAST_CONTEXT: usize = 256;

/// Refuses what does not fit, before anything is read. `need_of` gives the bytes that a context of so many positions
/// takes, weights included.
pub(crate) fn check(
    have: Option<u64>,
    context_len: usize,
    need_of: &dyn Fn(usize) -> u64,
) -> Result<(), LoadError> {
    let have = have.unwrap_or_else(available_bytes);
    let need = need_of(context_len);
    if need <= have {
        return Ok(());
    }
    let smaller = std::iter::successors(Some(context_len / 2), |len| Some(len / 2))
        .take_while(|&len| len >= LEAST_CONTEXT)
        .find(|&len| need_of(len) <= have);
    let advice = match smaller {
        Some(len) => format!("a context of {len} tokens (--ctx-size {len}) would fit"),
        None => "close other programs, or take a smaller model or one quantised to fewer bits".to_owned(),
    };
    Err(LoadError::DoesNotFit { need, have, advice })
}

/// Bytes that a new allocation can get without swapping, in this process's control group too; no bound where the system
/// does not tell.
fn available_bytes() -> u64 {
    let memory = MemoryRefreshKind::nothing().with_ram();
    let Ok(system) = System::new_with_specifics(RefreshKind::nothing().with_memory(memory)) else {
        return u64::MAX;
    };
    // Not `free_memory`: that counts cached pages of files, the model's own among them, as taken.
    let group = system.cgroup_limits().map_or(u64::MAX, |group| group.total_memory.saturating_sub(group.rss));
    system.available_memory().min(group)
}

/// `1.5 GiB`, `378 MiB`, `512 B`.
pub(crate) fn format_bytes(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if size < 10.0 && unit != "B" { format!("{size:.1} {unit}") } else { format!("{size:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_context_that_would() {
        let need = |context: usize| 1000 + 10 * context as u64;
        assert!(check(Some(11_240), 1024, &need).is_ok());
        let error = check(Some(7000), 1024, &need).unwrap_err();
        assert!(matches!(&error, LoadError::DoesNotFit { need: 11_240, have: 7000, .. }), "{error}");
        assert!(error.to_string().contains("--ctx-size 512"), "{error}");
        let error = check(Some(2000), 1024, &need).unwrap_err();
        assert!(error.to_string().contains("smaller model"), "{error}");
    }

    #[test]
    fn the_system_says_something() {
        assert!(available_bytes() > 1 << 20);
    }

    #[test]
    fn sizes_are_readable() {
        let sizes = [0, 1023, 1024, 10 << 20, 3 << 29, 1 << 50].map(format_bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "10 MiB", "1.5 GiB", "1024 TiB"]);
    }
}
