//! Numbers of many, and what stands for them.

/// The value below which `share` (0 to 1) of them lie; 0 of none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index from a share between 0 and 1"
    )]
    let at = ((values.len().saturating_sub(1)) as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or(0.0)
}

/// The middle one; `None` of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    (!values.is_empty()).then(|| quantile(&mut values, 0.5))
}

/// As a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a load are small")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_one_of_the_values() {
        let mut values: Vec<f64> = (1..=100).map(real).collect();
        values.reverse();
        assert!((quantile(&mut values, 0.99) - 99.0).abs() < f64::EPSILON);
        assert!((quantile(&mut values, 0.0) - 1.0).abs() < f64::EPSILON);
        assert!((quantile(&mut values, 1.0) - 100.0).abs() < f64::EPSILON);
        assert!((quantile(&mut [], 0.5) - 0.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_median_of_none_is_none() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
    }
}
