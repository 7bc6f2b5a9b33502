//! The middle of measurements.

pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match (numbers.get(numbers.len() / 2), numbers.len() % 2) {
        (Some(middle), 1) => *middle,
        (Some(middle), _) => f64::midpoint(*middle, numbers[numbers.len() / 2 - 1]),
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_even_number_it_lies_between_two() {
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![4.0, 9.0, 1.0]), 4.0);
        assert!(median(Vec::new()).is_nan());
    }
}
