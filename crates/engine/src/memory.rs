//! What is said of a model that is too large.

use crate::error::LoadError;
use model::DeviceKind;

/// A context shorter than this is not worth proposing.
const LEAST_CONTEXT: usize = 256;

/// Refuses what does not fit, before anything is read. `need_of` gives the bytes that a context of so many positions
/// takes, weights included.
pub(crate) fn check(
    device: DeviceKind,
    have: u64,
    context_len: usize,
    need_of: &dyn Fn(usize) -> u64,
) -> Result<(), LoadError> {
    match need_of(context_len) <= have {
        true => Ok(()),
        false => Err(does_not_fit(device, have, context_len, need_of)),
    }
}

/// The refusal, with the context that would fit.
pub(crate) fn does_not_fit(
    device: DeviceKind,
    have: u64,
    context_len: usize,
    need_of: &dyn Fn(usize) -> u64,
) -> LoadError {
    let smaller = std::iter::successors(Some(context_len / 2), |len| Some(len / 2))
        .take_while(|&len| len >= LEAST_CONTEXT)
        .find(|&len| need_of(len) <= have);
    let advice = match (smaller, device) {
        (Some(len), _) => format!("a context of {len} tokens (--ctx-size {len}) would fit"),
        (None, DeviceKind::Cpu) => {
            "close other programs, or take a smaller model or one quantised to fewer bits".to_owned()
        }
        (None, DeviceKind::Gpu) => {
            "take a smaller model or one quantised to fewer bits, or run it on the CPU (--device cpu)"
                .to_owned()
        }
    };
    LoadError::DoesNotFit { device, need: need_of(context_len), have, advice }
}

/// Whose memory it is.
pub(crate) fn place(device: DeviceKind) -> &'static str {
    match device {
        DeviceKind::Cpu => "memory",
        DeviceKind::Gpu => "the GPU's memory",
    }
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
        let check = |device, have| check(device, have, 1024, &need);
        assert!(check(DeviceKind::Cpu, 11_240).is_ok());
        let error = check(DeviceKind::Cpu, 7000).unwrap_err();
        assert!(matches!(&error, LoadError::DoesNotFit { need: 11_240, have: 7000, .. }), "{error}");
        assert!(error.to_string().contains("--ctx-size 512"), "{error}");
        let error = check(DeviceKind::Cpu, 2000).unwrap_err().to_string();
        assert!(error.contains("smaller model") && !error.contains("GPU"), "{error}");
        let error = check(DeviceKind::Gpu, 2000).unwrap_err().to_string();
        assert!(error.contains("GPU's memory") && error.contains("--device cpu"), "{error}");
    }

    #[test]
    fn sizes_are_readable() {
        let sizes = [0, 1023, 1024, 10 << 20, 3 << 29, 1 << 50].map(format_bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "10 MiB", "1.5 GiB", "1024 TiB"]);
    }
}
