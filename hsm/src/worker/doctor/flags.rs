//! What a token says before anybody logs in.

use std::time::{SystemTime, UNIX_EPOCH};

use cryptoki::{slot::TokenInfo, types::UtcTime};

use super::Chart;
use crate::{wire::visit::Grade, worker::token::Found};

/// How far a token's clock may be off before it is remarked on.
const DRIFT: u64 = 300;

/// Compares the token's clock with ours, if it has one.
pub(super) fn clock(info: &TokenInfo, chart: &mut Chart) {
    chart.step("clock");
    let Some(time) = info.utc_time().filter(|_| info.clock_on_token()) else {
        chart.fine("the token has none");
        return;
    };
    let (said, ours) = (time.as_iso8601_string(), SystemTime::now());
    let ours = ours
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let off = seconds(time).abs_diff(ours);
    if off <= DRIFT {
        chart.fine(format!("{said}, {off} s off ours"));
    } else {
        let advice = "set it: custodyd does not go by it, but the vendor's own records do";
        chart.find(Grade::Warning, format!("{said}, {off} s off ours"), advice);
    }
}

/// Seconds since 1970; the civil calendar's days by the usual shift of the year to March.
fn seconds(time: UtcTime) -> u64 {
    let (month, day) = (u64::from(time.month), u64::from(time.day));
    let year = u64::from(time.year) - u64::from(month <= 2 && time.year > 0);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    let days = 365 * year + year / 4 - year / 100 + year / 400 + of_year;
    let days = days.saturating_sub(719_468);
    let (hour, minute) = (u64::from(time.hour), u64::from(time.minute));
    ((days * 24 + hour) * 60 + minute) * 60 + u64::from(time.second)
}

/// `None` if a login could only harm.
pub(super) fn pin(found: &Found, chart: &mut Chart) -> Option<()> {
    chart.step("PIN");
    let info = found.info();
    let by_hand = "make sure of the PIN, then log in once with the vendor's tool, which clears this; no try is spent here";
    let against = if info.user_pin_locked() {
        Some((
            "the token has locked the user PIN",
            "have its security officer unlock it",
        ))
    } else if info.user_pin_final_try() {
        Some(("one more wrong PIN locks it", by_hand))
    } else if info.user_pin_count_low() {
        Some(("a wrong PIN was entered since the last login", by_hand))
    } else if info.login_required() && !info.user_pin_initialized() {
        Some((
            "no user PIN is set",
            "have the token's security officer set one",
        ))
    } else {
        None
    };
    if let Some((found, advice)) = against {
        chart.find(Grade::Refused, found, advice);
        return None;
    }
    if info.write_protected() {
        let advice = "no key can be made in it";
        chart.find(Grade::Refused, "the token is write-protected", advice);
    }
    if info.user_pin_to_be_changed() {
        let advice = "change it with the vendor's tool before custodyd depends on it";
        chart.find(
            Grade::Warning,
            "the token wants the PIN to be changed",
            advice,
        );
    }
    if info.protected_authentication_path() {
        let found =
            "the token has a way of its own to ask for the PIN, which custodyd does not use";
        chart.find(Grade::Note, found, "");
    }
    if !info.login_required() {
        let advice = "whoever can load the module has the keys: set a user PIN";
        chart.find(Grade::Refused, "the token wants no login", advice);
    }
    chart.fine("no wrong PIN since the last login");
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_time_is_counted_from_1970() {
        let at = |year, month, day, hour| UtcTime {
            year,
            month,
            day,
            hour,
            minute: 1,
            second: 2,
        };
        assert_eq!(seconds(at(1970, 1, 1, 0)), 62);
        assert_eq!(seconds(at(2000, 2, 29, 0)), 951_782_462);
        assert_eq!(seconds(at(2026, 11, 27, 12)), 1_795_780_862);
        assert_eq!(seconds(at(0, 0, 0, 0)), 62);
    }
}
