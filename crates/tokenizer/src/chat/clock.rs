//! Dates in templates: `strftime` on UTC.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From the day of the epoch on.
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// A moment in the Gregorian calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    year: u64,
    /// 1..=12.
    month: u64,
    /// 1..=31.
    day: u64,
    /// 1..=366.
    day_of_year: u64,
    days_since_epoch: u64,
    second_of_day: u64,
}

impl Moment {
    /// Times before the epoch count as the epoch.
    fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let days_since_epoch = seconds / 86_400;
        let (mut year, mut day) = (1970, days_since_epoch);
        // Whole 400-year cycles first, so that no time takes long.
        year += day / DAYS_IN_CYCLE * 400;
        day %= DAYS_IN_CYCLE;
        while day >= days_in_year(year) {
            day -= days_in_year(year);
            year += 1;
        }
        let day_of_year = day + 1;
        let mut month = 1;
        while day >= days_in_month(year, month) {
            day -= days_in_month(year, month);
            month += 1;
        }
        Self { year, month, day: day + 1, day_of_year, days_since_epoch, second_of_day: seconds % 86_400 }
    }
}

const DAYS_IN_CYCLE: u64 = 146_097;

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `time` in UTC as `format` says; the directive that is not known as the error.
pub(super) fn strftime(time: SystemTime, format: &str) -> Result<String, String> {
    let moment = Moment::of(time);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (padded, directive) = match chars.next() {
            Some('-') => (false, chars.next()),
            directive => (true, directive),
        };
        let known = directive.and_then(|directive| write_directive(&mut out, &moment, directive, padded));
        if known.is_none() {
            let dash = if padded { "" } else { "-" };
            return Err(format!("%{dash}{}", directive.map(String::from).unwrap_or_default()));
        }
    }
    Ok(out)
}

/// Appends what `directive` stands for; `None` if it stands for nothing.
fn write_directive(out: &mut String, moment: &Moment, directive: char, padded: bool) -> Option<()> {
    let hour = moment.second_of_day / 3600;
    let month = MONTHS[usize::try_from(moment.month - 1).ok()?];
    let weekday = WEEKDAYS[usize::try_from(moment.days_since_epoch % 7).ok()?];
    let mut number = |value: u64, width: usize| {
        let width = if padded { width } else { 1 };
        write!(out, "{value:0width$}").ok()
    };
    match directive {
        'Y' => number(moment.year, 4),
        'y' => number(moment.year % 100, 2),
        'm' => number(moment.month, 2),
        'd' => number(moment.day, 2),
        'H' => number(hour, 2),
        'I' => number((hour + 11) % 12 + 1, 2),
        'M' => number(moment.second_of_day / 60 % 60, 2),
        'S' => number(moment.second_of_day % 60, 2),
        'j' => number(moment.day_of_year, 3),
        'e' => write!(out, "{:2}", moment.day).ok(),
        'B' => write!(out, "{month}").ok(),
        'b' | 'h' => write!(out, "{}", &month[..3]).ok(),
        'A' => write!(out, "{weekday}").ok(),
        'a' => write!(out, "{}", &weekday[..3]).ok(),
        'p' => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }).ok(),
        'F' => write!(out, "{:04}-{:02}-{:02}", moment.year, moment.month, moment.day).ok(),
        'T' => {
            let (minute, second) = (moment.second_of_day / 60 % 60, moment.second_of_day % 60);
            write!(out, "{hour:02}:{minute:02}:{second:02}").ok()
        }
        'Z' => write!(out, "UTC").ok(),
        'z' => write!(out, "+0000").ok(),
        '%' => write!(out, "%").ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64, format: &str) -> Result<String, String> {
        strftime(UNIX_EPOCH + Duration::from_secs(seconds), format)
    }

    #[test]
    fn dates_are_those_of_date_u() {
        // `date -u -d @N +FORMAT`
        for (seconds, format, expected) in [
            (0, "%A %d %B %Y %H:%M:%S", "Thursday 01 January 1970 00:00:00"),
            (951_782_400, "%d %b %Y %j", "29 Feb 2000 060"),
            (951_868_799, "%T", "23:59:59"),
            (1_709_251_199, "%F %I:%M %p", "2024-02-29 11:59 PM"),
            (1_735_689_600, "%a %e|%-d %-m %y %%", "Wed  1|1 1 25 %"),
            (4_107_542_400, "%Y-%m-%d", "2100-03-01"),
            (13_569_465_600, "%Y-%m-%d", "2400-01-01"),
        ] {
            assert_eq!(at(seconds, format).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn unknown_directives_are_named() {
        assert_eq!(at(0, "%Q"), Err("%Q".to_owned()));
        assert_eq!(at(0, "%-"), Err("%-".to_owned()));
        assert_eq!(at(0, "%"), Err("%".to_owned()));
    }
}
