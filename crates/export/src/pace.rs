//! How long to wait after what failed: full jitter, so that many who fail together do not come back together.

/// Longest wait that doubling leads to, in seconds.
const LONGEST: u64 = 300;

/// Longest that a destination may ask for, in seconds.
const ASKED: u64 = 3_600;

/// Seconds to wait after so many failures in a row, at least what the destination asked for. `random` is any number.
pub(crate) fn wait(failures: u32, asked: Option<u64>, random: u64) -> u64 {
    let most = 1_u64.checked_shl(failures).unwrap_or(LONGEST).clamp(1, LONGEST);
    let spread = 1 + random % most;
    spread.max(asked.unwrap_or_default().min(ASKED))
}

#[cfg(test)]
mod tests {
    use super::wait;

    #[test]
    fn waits_grow_to_five_minutes_and_are_spread_over_all_of_it() {
        for (failures, most) in
            [(0, 1), (1, 2), (2, 4), (5, 32), (8, 256), (9, 300), (63, 300), (64, 300), (900, 300)]
        {
            assert_eq!(wait(failures, None, 0), 1, "{failures}");
            assert_eq!(wait(failures, None, most - 1), most, "{failures}");
            assert!(
                (0..1_000).all(|random| (1..=most).contains(&wait(failures, None, random))),
                "{failures}"
            );
        }
    }

    #[test]
    fn what_the_destination_asks_for_is_waited_within_an_hour() {
        assert_eq!(wait(1, Some(90), 0), 90);
        assert_eq!(wait(9, Some(5), 99), 100);
        assert_eq!(wait(1, Some(u64::MAX), 0), 3_600);
    }
}
