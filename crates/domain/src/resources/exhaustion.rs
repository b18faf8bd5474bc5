//! When a quota will be used up at the present pace.

/// Days to the limit: `usage` grows by the mean of `growth` (of closed days, in units of 10⁻¹²) each day. The whole
/// number of days after which usage is at the limit or above; 0 if it is now, `None` when usage is flat or falls.
pub fn exhaustion(usage: i128, limit: i128, growth: &[i128]) -> Option<i64> {
    if usage >= limit {
        return Some(0);
    }
    let days = i128::try_from(growth.len()).ok()?;
    let sum: i128 = growth.iter().try_fold(0_i128, |sum, day| sum.checked_add(*day))?;
    if days == 0 || sum <= 0 {
        return None;
    }
    // ⌈(limit − usage) ÷ (sum ÷ days)⌉, without rounding the mean.
    let needed = limit.checked_sub(usage)?.checked_mul(days)?;
    i64::try_from((needed + sum - 1) / sum).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_not_rounded_before_the_days_are() {
        let table: &[(i128, i128, &[i128], Option<i64>)] = &[
            (41, 50, &[1, 1, 1, 1, 1, 1, 1], Some(9)),
            (41, 50, &[1, 0, 0, 0, 0, 0, 0], Some(63)),
            (41, 50, &[2, 2, 0], Some(7)),
            (50, 50, &[0], Some(0)),
            (60, 50, &[], Some(0)),
            (41, 50, &[0, 0], None),
            (41, 50, &[-3, 1], None),
            (41, 50, &[], None),
            (0, 10i128.pow(31), &[1], None),
        ];
        for (usage, limit, growth, expected) in table {
            assert_eq!(exhaustion(*usage, *limit, growth), *expected, "{usage} of {limit} by {growth:?}");
        }
    }
}
