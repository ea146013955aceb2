//! How often a group master key has encrypted, counted before it does, so that none comes near
//! the number at which two random nonces may be the same.

use std::collections::HashMap;

use crate::{envelope::Wrapping, group::MasterKey, name::KeyId, release::Urgency};

/// How often a key may encrypt with AES-GCM under random 96-bit nonces: SP 800-38D, 8.3.
pub const BOUND: u64 = 1 << 32;

/// How many encryptions one wrap is counted as: it may be tried again on the same session, on
/// another, and by another worker.
pub const PER_WRAP: u64 = 32;

/// The most encryptions that are put on record at a time, before they are made.
const LONGEST_STEP: u64 = 1 << 20;

/// A wrap that was counted before it was made. It is good for one:
///
/// ```compile_fail,E0382
/// fn twice(invocation: custody::invocation::Invocation) {
///     drop(invocation);
///     drop(invocation);
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it was counted"]
pub struct Invocation {
    gmk: KeyId,
    urgency: Urgency,
}

impl Invocation {
    /// One by a key whose wraps are few and are not counted: the system's, which wraps the row
    /// key when it was made, and nothing after that.
    pub fn uncounted(gmk: KeyId) -> Self {
        Self::by(gmk)
    }

    fn by(gmk: KeyId) -> Self {
        Self {
            gmk,
            urgency: Urgency::Management,
        }
    }

    /// The same, for a wrap that nobody waits for.
    pub fn for_upkeep(self) -> Self {
        Self {
            urgency: Urgency::Upkeep,
            ..self
        }
    }

    /// The key that may wrap.
    pub fn gmk(&self) -> &KeyId {
        &self.gmk
    }

    /// How soon it is to be made.
    pub fn urgency(&self) -> Urgency {
        self.urgency
    }
}

/// Why a wrap was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// It must be on record first that the key may have encrypted so often.
    Reserve(u64),
    /// The key has encrypted as often as it may.
    Exhausted,
}

/// Counts what keys have encrypted, within what is on record for each. What was on record when
/// the count began is held to have been used.
#[derive(Debug)]
pub struct Invocations {
    bound: u64,
    used: HashMap<KeyId, u64>,
}

impl Invocations {
    /// Keys may encrypt as often as `bound` says, and never more often than [`BOUND`].
    pub fn up_to(bound: u64) -> Self {
        Self {
            bound: bound.min(BOUND),
            used: HashMap::new(),
        }
    }

    /// A key was made, and protected its canary. What is to be on record of it.
    pub fn born(&mut self, id: KeyId) -> u64 {
        self.used.insert(id, PER_WRAP);
        self.step()
    }

    /// Counts one wrap by `key`.
    ///
    /// # Errors
    ///
    /// If that is more than is on record, or than may be.
    pub fn spend(&mut self, key: &MasterKey) -> Result<Invocation, Short> {
        let invocation = Invocation::by(key.id);
        if !is_bounded(key.wrapping) {
            return Ok(invocation);
        }
        let step = self.step();
        let used = self.used.entry(key.id).or_insert(key.reserved);
        let after = used.saturating_add(PER_WRAP);
        if after > self.bound {
            return Err(Short::Exhausted);
        }
        if after > key.reserved {
            let reserve = key.reserved.max(*used).saturating_add(step);
            return Err(Short::Reserve(reserve.min(self.bound)));
        }
        *used = after;
        Ok(invocation)
    }

    /// Whether another key is to take the place of `key`, for which there is still time.
    pub fn is_worn(&self, key: &MasterKey) -> bool {
        key.state.protects() && is_bounded(key.wrapping) && key.reserved >= self.bound / 4 * 3
    }

    fn step(&self) -> u64 {
        (self.bound / 64).clamp(PER_WRAP, LONGEST_STEP)
    }
}

/// The others take no nonce, or one so long that none is drawn twice.
fn is_bounded(wrapping: Wrapping) -> bool {
    match wrapping {
        Wrapping::Aes256Gcm => true,
        Wrapping::AesKwp
        | Wrapping::AesKw
        | Wrapping::AesCbcHmac
        | Wrapping::RsaOaepSha256
        | Wrapping::RsaOaepSha1 => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::TokenId;
    use crate::{envelope::WrappedDek, group::KeyState};

    const SMALL: u64 = 64 * 64;

    fn key(wrapping: Wrapping) -> MasterKey {
        MasterKey {
            id: KeyId::from_bytes(&[1; 16]).unwrap(),
            group: "web".parse().unwrap(),
            generation: 1,
            state: KeyState::Active,
            wrapping,
            canary: WrappedDek::from_blob(vec![]),
            token: TokenId::new("", ""),
            blob: None,
            reserved: 0,
            created: 0,
        }
    }

    /// Wraps until the key is exhausted; says how often, and when it was worn first.
    fn wear_out(invocations: &mut Invocations, key: &mut MasterKey) -> (u64, Option<u64>) {
        let (mut wraps, mut worn) = (0, None);
        loop {
            match invocations.spend(key) {
                Ok(invocation) => {
                    assert_eq!(invocation.gmk(), &key.id);
                    wraps += 1;
                    assert!(wraps * PER_WRAP <= key.reserved, "it was on record before");
                }
                Err(Short::Reserve(up_to)) => {
                    assert!(up_to > key.reserved && up_to <= SMALL);
                    key.reserved = up_to;
                }
                Err(Short::Exhausted) => return (wraps, worn),
            }
            if invocations.is_worn(key) {
                worn.get_or_insert(wraps);
            }
        }
    }

    #[test]
    fn a_key_encrypts_no_more_often_than_it_may_and_is_worn_before_that() {
        let mut invocations = Invocations::up_to(SMALL);
        let mut key = key(Wrapping::Aes256Gcm);
        key.reserved = invocations.born(key.id);
        let (wraps, worn) = wear_out(&mut invocations, &mut key);
        // But for its canary.
        assert_eq!(wraps, SMALL / PER_WRAP - 1);
        assert!(worn.unwrap() < wraps * 4 / 5, "{worn:?} of {wraps}");
        key.state = KeyState::Active.deactivated().unwrap();
        assert!(!invocations.is_worn(&key), "another has its place");
    }

    #[test]
    fn what_was_on_record_counts_as_used_after_a_restart() {
        let mut key = key(Wrapping::Aes256Gcm);
        let mut invocations = Invocations::up_to(SMALL);
        key.reserved = invocations.born(key.id);
        assert!(invocations.spend(&key).is_ok());
        let mut restarted = Invocations::up_to(SMALL);
        let on_record = key.reserved;
        assert_eq!(
            restarted.spend(&key),
            Err(Short::Reserve(on_record + SMALL / 64))
        );
        let (wraps, _) = wear_out(&mut restarted, &mut key);
        assert_eq!(wraps, (SMALL - on_record) / PER_WRAP);
    }

    #[test]
    fn no_bound_is_above_the_standards() {
        let mut invocations = Invocations::up_to(u64::MAX);
        let mut key = key(Wrapping::Aes256Gcm);
        key.reserved = BOUND - PER_WRAP + 1;
        assert_eq!(invocations.spend(&key), Err(Short::Exhausted));
    }

    #[test]
    fn a_way_to_wrap_without_nonces_has_no_bound() {
        let mut invocations = Invocations::up_to(0);
        let key = key(Wrapping::AesKwp);
        assert!(invocations.spend(&key).is_ok());
        assert!(!invocations.is_worn(&key));
    }
}
