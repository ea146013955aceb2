//! Chance, good enough to choose what fails. Not for keys.

use std::{
    f64::consts::TAU,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use crate::control::Delay;

/// 99 % of a normal distribution are below so many standard deviations.
const P99: f64 = 2.326_347_874;

pub(crate) fn number() -> u64 {
    RandomState::new().hash_one(0)
}

/// At least 0, and below 1.
#[allow(clippy::cast_precision_loss, reason = "53 bits are what an f64 has")]
fn fraction() -> f64 {
    (number() >> 11) as f64 / (1_u64 << 53) as f64
}

pub(crate) fn happens(share: f64) -> bool {
    share >= 1.0 || fraction() < share
}

impl Delay {
    pub(crate) fn draw(self) -> Duration {
        match self {
            Self::Fixed(millis) => Duration::from_millis(millis),
            Self::Uniform { low, high } => {
                let span = high.saturating_sub(low) + 1;
                Duration::from_millis(low + number() % span)
            }
            Self::LogNormal { median, p99 } => {
                let normal = (-2.0 * (1.0 - fraction()).ln()).sqrt() * (TAU * fraction()).cos();
                let deviation = (p99 / median).ln() / P99;
                let millis = median * (normal * deviation).exp();
                Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_normal_delay_has_the_median_and_the_tail_that_it_is_given() {
        let delay = Delay::LogNormal {
            median: 2.0,
            p99: 200.0,
        };
        let mut drawn: Vec<_> = (0..20_000).map(|_| delay.draw().as_secs_f64()).collect();
        drawn.sort_by(f64::total_cmp);
        let (median, p99) = (drawn[10_000], drawn[19_800]);
        assert!((0.0015..0.0027).contains(&median), "{median}");
        assert!((0.1..0.4).contains(&p99), "{p99}");
    }

    #[test]
    fn a_share_is_about_that_share() {
        let count = (0..10_000).filter(|_| happens(0.2)).count();
        assert!((1700..2300).contains(&count), "{count}");
    }
}
