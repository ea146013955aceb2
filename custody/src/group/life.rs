//! The life of a group master key: its states (SP 800-57 pt 1 §7), and the ways from one to
//! another. There are no others.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Millis;

/// State of a group master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Made, and not yet authorised for use.
    PreActive,
    /// Protects and reveals.
    Active,
    /// Set aside for a time: does neither.
    Suspended,
    /// Its time to protect is over; reveals what it protected.
    Deactivated(Rest),
    /// Someone may have it. Reveals, so that what it protected can be renewed.
    Compromised(Rest),
    /// The key is gone.
    Destroyed,
    /// The key is gone, and someone may have had it.
    DestroyedCompromised,
}

/// What is left of what a key protected that protects no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rest {
    /// Versions are wrapped under it, or are to be renewed because of it.
    Some,
    /// Nothing has been, since that time.
    Nothing(Millis),
    /// Nothing has been, and it is to be destroyed, unless that is taken back.
    Doomed {
        /// Since when.
        emptied: Millis,
        /// When it is to be destroyed.
        at: Millis,
    },
}

impl Rest {
    fn of(emptied: Option<Millis>, doom: Option<Millis>) -> Option<Self> {
        match (emptied, doom) {
            (None, None) => Some(Self::Some),
            (Some(since), None) => Some(Self::Nothing(since)),
            (Some(emptied), Some(at)) => Some(Self::Doomed { emptied, at }),
            (None, Some(_)) => None,
        }
    }
}

impl KeyState {
    /// Every state, without what may be left.
    pub const ALL: [Self; 7] = [
        Self::PreActive,
        Self::Active,
        Self::Suspended,
        Self::Deactivated(Rest::Some),
        Self::Compromised(Rest::Some),
        Self::Destroyed,
        Self::DestroyedCompromised,
    ];

    /// Whether new data keys may be wrapped.
    pub fn protects(self) -> bool {
        self == Self::Active
    }

    /// Whether wrapped data keys may be unwrapped.
    pub fn reveals(self) -> bool {
        matches!(
            self,
            Self::Active | Self::Deactivated(_) | Self::Compromised(_)
        )
    }

    /// Whether someone may have it, or have had it.
    pub fn is_compromised(self) -> bool {
        matches!(self, Self::Compromised(_) | Self::DestroyedCompromised)
    }

    /// Whether it is gone.
    pub fn is_destroyed(self) -> bool {
        matches!(self, Self::Destroyed | Self::DestroyedCompromised)
    }

    /// Whether what it protected is to be moved to another key.
    pub fn is_left(self) -> bool {
        self.rest().is_some()
    }

    /// When nothing was left under it, if that is so.
    pub fn emptied(self) -> Option<Millis> {
        match self.rest()? {
            Rest::Some => None,
            Rest::Nothing(emptied) | Rest::Doomed { emptied, .. } => Some(emptied),
        }
    }

    /// When it is to be destroyed, if it is.
    pub fn doom(self) -> Option<Millis> {
        match self.rest()? {
            Rest::Doomed { at, .. } => Some(at),
            _ => None,
        }
    }

    fn rest(self) -> Option<Rest> {
        match self {
            Self::Deactivated(rest) | Self::Compromised(rest) => Some(rest),
            _ => None,
        }
    }

    fn with(self, rest: Rest) -> Option<Self> {
        match self {
            Self::Deactivated(_) => Some(Self::Deactivated(rest)),
            Self::Compromised(_) => Some(Self::Compromised(rest)),
            _ => None,
        }
    }

    /// After another key has taken its place.
    #[must_use]
    pub fn deactivated(self) -> Option<Self> {
        match self {
            Self::Active | Self::Suspended => Some(Self::Deactivated(Rest::Some)),
            _ => None,
        }
    }

    /// After someone may have got it. What was moved from it before is left again, to be renewed.
    #[must_use]
    pub fn compromised(self) -> Option<Self> {
        match self {
            Self::Compromised(_) | Self::DestroyedCompromised => None,
            Self::Destroyed => Some(Self::DestroyedCompromised),
            Self::PreActive | Self::Active | Self::Suspended | Self::Deactivated(_) => {
                Some(Self::Compromised(Rest::Some))
            }
        }
    }

    /// After the last of what it protected was moved, or renewed.
    #[must_use]
    pub fn without_rest(self, now: Millis) -> Option<Self> {
        match self.rest()? {
            Rest::Some => self.with(Rest::Nothing(now)),
            _ => None,
        }
    }

    /// After it was said that it is to be destroyed: only if nothing is left under it.
    #[must_use]
    pub fn doomed(self, at: Millis) -> Option<Self> {
        let emptied = self.emptied()?;
        self.with(Rest::Doomed { emptied, at })
    }

    /// After that was taken back.
    #[must_use]
    pub fn spared(self) -> Option<Self> {
        match self.rest()? {
            Rest::Doomed { emptied, .. } => self.with(Rest::Nothing(emptied)),
            _ => None,
        }
    }

    /// After it was destroyed, if its time has come.
    #[must_use]
    pub fn destroyed(self, now: Millis) -> Option<Self> {
        (self.doom()? <= now).then_some(self.lost())
    }

    /// After its token was given up, with whatever is left under it.
    #[must_use]
    pub fn lost(self) -> Self {
        match self.is_compromised() {
            true => Self::DestroyedCompromised,
            false => Self::Destroyed,
        }
    }

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated(_) => "deactivated",
            Self::Compromised(_) => "compromised",
            Self::Destroyed => "destroyed",
            Self::DestroyedCompromised => "destroyed-compromised",
        }
    }

    /// The state of that name, with the times that go with it.
    pub fn from_parts(name: &str, emptied: Option<Millis>, doom: Option<Millis>) -> Option<Self> {
        let rest = Rest::of(emptied, doom)?;
        let state = Self::ALL.into_iter().find(|state| state.name() == name)?;
        match rest {
            Rest::Some => Some(state),
            rest => state.with(rest),
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for KeyState {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: Millis = 1000;

    /// Every state that a key can come to from being made.
    fn reachable() -> HashSet<KeyState> {
        let mut known = HashSet::from([KeyState::PreActive, KeyState::Active, KeyState::Suspended]);
        let mut new: Vec<_> = known.iter().copied().collect();
        while let Some(state) = new.pop() {
            let next = [
                state.deactivated(),
                state.compromised(),
                state.without_rest(NOW),
                state.doomed(NOW),
                state.doomed(NOW + 1),
                state.spared(),
                state.destroyed(NOW),
            ];
            let next = next.into_iter().flatten();
            new.extend(next.filter(|state| known.insert(*state)));
        }
        known
    }

    #[test]
    fn only_an_active_key_protects_and_what_protects_reveals() {
        for state in reachable() {
            assert_eq!(state.protects(), state == KeyState::Active, "{state}");
            assert!(state.reveals() || !state.protects(), "{state}");
        }
        for state in [
            KeyState::PreActive,
            KeyState::Suspended,
            KeyState::Destroyed,
            KeyState::DestroyedCompromised,
        ] {
            assert!(!state.reveals(), "{state}");
        }
    }

    #[test]
    fn no_key_is_destroyed_before_it_is_empty_and_its_time_has_come() {
        for state in reachable() {
            if state.destroyed(NOW).is_some() {
                assert!(state.emptied().is_some() && state.doom() == Some(NOW));
            }
            if state.doomed(NOW).is_some() {
                assert!(state.emptied().is_some() && !state.protects(), "{state:?}");
            }
        }
        let empty = KeyState::Active.deactivated().unwrap().without_rest(NOW);
        let doomed = empty.unwrap().doomed(NOW + 1).unwrap();
        assert_eq!(doomed.destroyed(NOW), None);
        assert_eq!(doomed.spared(), empty);
        assert_eq!(doomed.destroyed(NOW + 1), Some(KeyState::Destroyed));
    }

    #[test]
    fn nothing_leads_back_to_protecting_nor_out_of_destruction() {
        for state in reachable() {
            let next = [
                state.deactivated(),
                state.compromised(),
                state.without_rest(NOW),
                state.doomed(NOW),
                state.spared(),
                state.destroyed(NOW),
            ];
            let next: Vec<_> = next.into_iter().flatten().collect();
            assert!(next.iter().all(|next| !next.protects()), "{state:?}");
            let is_gone = |state: &KeyState| state.is_destroyed();
            assert!(!is_gone(&state) || next.iter().all(is_gone), "{state:?}");
        }
    }

    #[test]
    fn a_compromise_is_not_forgotten_and_asks_again_what_is_left() {
        for state in reachable() {
            let compromised = state.compromised();
            assert_eq!(compromised.is_none(), state.is_compromised(), "{state:?}");
            if let Some(compromised) = compromised {
                assert!(compromised.is_compromised(), "{state:?}");
                assert_eq!(compromised.is_destroyed(), state.is_destroyed());
                assert_eq!(compromised.emptied(), None, "{state:?}");
                assert_eq!(compromised.doom(), None, "{state:?}");
            }
            let next = [
                state.deactivated(),
                state.without_rest(NOW),
                state.doomed(NOW),
                state.spared(),
                state.destroyed(NOW),
            ];
            for next in next.into_iter().flatten() {
                assert_eq!(next.is_compromised(), state.is_compromised(), "{state:?}");
            }
        }
    }

    #[test]
    fn states_survive_their_parts_and_no_other_parts_are_states() {
        for state in reachable() {
            assert_eq!(
                KeyState::from_parts(state.name(), state.emptied(), state.doom()),
                Some(state)
            );
        }
        for (name, emptied, doom) in [
            ("none", None, None),
            ("active", Some(1), None),
            ("destroyed", Some(1), Some(1)),
            ("deactivated", None, Some(1)),
        ] {
            assert_eq!(KeyState::from_parts(name, emptied, doom), None, "{name}");
        }
    }
}
