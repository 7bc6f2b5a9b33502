//! How many threads compute where nobody says: one for each physical core that this process may use.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::thread;

/// The affinity mask and the quota of the control group limit the number; two hardware threads of a core count once, since
/// both would wait for the same arithmetic units.
pub(crate) fn default_count() -> usize {
    let allowed = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    allowed_cores().unwrap_or_else(num_cpus::get_physical).clamp(1, allowed)
}

/// Physical cores in the affinity mask; `None` where the system does not tell.
fn allowed_cores() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let siblings = |cpu: usize| {
        fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")).ok()
    };
    count_cores(&parse_list(list)?, siblings)
}

/// Sets of hardware threads among `cpus`, each set told by `siblings` of any of its members.
fn count_cores(cpus: &[usize], siblings: impl Fn(usize) -> Option<String>) -> Option<usize> {
    let cores: Option<BTreeSet<Vec<usize>>> = cpus.iter().map(|&cpu| parse_list(&siblings(cpu)?)).collect();
    cores.map(|cores| cores.len()).filter(|&n| n > 0)
}

/// Numbers as the kernel lists them: `0-3,8`.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        // No machine has more; a list that says so is not one.
        if last > 1 << 16 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        assert_eq!(parse_list("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse_list(" 5"), Some(vec![5]));
        assert_eq!(parse_list("x"), None);
        assert_eq!(parse_list("0-99999999"), None);
    }

    #[test]
    fn hardware_threads_of_a_core_count_once() {
        let siblings = |cpu: usize| Some(format!("{},{}", cpu % 4, cpu % 4 + 4));
        assert_eq!(count_cores(&[0, 1, 2, 3, 4, 5, 6, 7], siblings), Some(4));
        assert_eq!(count_cores(&[1, 5], siblings), Some(1));
        assert_eq!(count_cores(&[1, 5], |_| None), None);
    }

    #[test]
    fn there_is_always_one() {
        assert!(default_count() >= 1);
    }
}
