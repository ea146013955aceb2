//! New material for a secret: what is asked for, and how it is made.

use std::str::FromStr;

use zeroize::Zeroizing;

use super::{Fields, Kind, Properties, Refused, Shape};
use crate::random::Random;

/// The most characters or bytes that are made.
const MAX_LENGTH: u32 = 1024;

/// What new material is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Public fields that go with it; of those that are not named, the former values.
    pub set: Vec<(String, String)>,
    /// Characters, or bytes of a key.
    pub length: Option<u32>,
    /// What text consists of.
    pub alphabet: Option<Alphabet>,
}

/// How new content of a type comes about.
#[derive(Clone, Copy)]
pub(super) enum Makes {
    /// So: the order, the former properties and the public fields give all fields.
    New(fn(&Order, &Properties, Fields, &mut Random) -> Result<Fields, Refused>),
    /// Not here; what to do instead.
    Not(&'static str),
}

impl Kind {
    /// Whether custodyd can make new content.
    ///
    /// # Errors
    ///
    /// What to do instead.
    pub fn can_be_made(self) -> Result<(), Refused> {
        match self.0.makes() {
            Makes::New(_) => Ok(()),
            Makes::Not(instead) => Err(invalid(format!(
                "custodyd makes no {} by itself: {instead}",
                self.name()
            ))),
        }
    }

    /// Makes new content in place of that with the properties `former`, or for the first
    /// time. It is accepted like what people give.
    ///
    /// # Errors
    ///
    /// What cannot be made so.
    pub fn make(
        self,
        former: Option<&Properties>,
        order: &Order,
        random: &mut Random,
    ) -> Result<Fields, Refused> {
        self.can_be_made()?;
        let Makes::New(make) = self.0.makes() else {
            return Ok(Fields::default());
        };
        if let Some(length) = order.length.filter(|length| *length > MAX_LENGTH) {
            return Err(invalid(format!(
                "a length of {length} is over {MAX_LENGTH}, the most that is made"
            )));
        }
        let none = Properties::new();
        let former = former.unwrap_or(&none);
        let fields = self.public_fields(former, order)?;
        make(order, former, fields, random)
    }

    /// The public fields of new content: as ordered, or as they were.
    fn public_fields(self, former: &Properties, order: &Order) -> Result<Fields, Refused> {
        if let Some((name, _)) = order.set.iter().find(|(name, _)| !self.is_public(name)) {
            return Err(invalid(format!(
                "{name:?} is no public field of a {}, so it cannot be set",
                self.name()
            )));
        }
        let Shape::Fields(known) = self.shape() else {
            return Ok(Fields::default());
        };
        let mut fields = Fields::default();
        for field in known.iter().filter(|field| self.is_public(field.name)) {
            let mut values = order.set.iter().chain(former);
            if let Some((name, value)) = values.find(|(name, _)| name == field.name) {
                fields.push(name.clone(), value.clone().into_bytes());
            }
        }
        Ok(fields)
    }
}

/// The characters that made text consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Letters and digits.
    Alphanumeric,
    /// Letters, digits, '-' and '_'.
    UrlSafe,
    /// All that is visible in ASCII.
    Printable,
    /// Hexadecimal digits.
    Hex,
    /// Decimal digits.
    Digits,
}

/// A text that is no alphabet.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no alphabet; there are {known}", known = Alphabet::ALL.map(Alphabet::name).join(", "))]
pub struct NoSuchAlphabet(String);

impl Alphabet {
    /// Every alphabet.
    pub const ALL: [Self; 5] = [
        Self::Alphanumeric,
        Self::UrlSafe,
        Self::Printable,
        Self::Hex,
        Self::Digits,
    ];

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alphanumeric => "alphanumeric",
            Self::UrlSafe => "url-safe",
            Self::Printable => "printable",
            Self::Hex => "hex",
            Self::Digits => "digits",
        }
    }

    fn symbols(self) -> Vec<u8> {
        let is_in = |byte: &u8| match self {
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::UrlSafe => byte.is_ascii_alphanumeric() || b"-_".contains(byte),
            Self::Printable => byte.is_ascii_graphic(),
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Digits => byte.is_ascii_digit(),
        };
        (0..=u8::MAX).filter(is_in).collect()
    }

    /// What a thousand characters are worth in bits, rounded down.
    fn worth(self) -> u32 {
        match self {
            Self::Alphanumeric => 5954,
            Self::UrlSafe => 6000,
            Self::Printable => 6554,
            Self::Hex => 4000,
            Self::Digits => 3321,
        }
    }

    /// How many characters are worth so many bits.
    fn length(self, bits: u32) -> u32 {
        (bits * 1000).div_ceil(self.worth())
    }
}

impl FromStr for Alphabet {
    type Err = NoSuchAlphabet;

    fn from_str(name: &str) -> Result<Self, NoSuchAlphabet> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|alphabet| alphabet.name() == name);
        found.ok_or_else(|| NoSuchAlphabet(name.to_owned()))
    }
}

/// How hard text is to guess, in bits.
pub(super) struct Strength {
    /// At the least, whatever length is asked for.
    pub(super) least: u32,
    /// If none is.
    pub(super) usual: u32,
}

/// What people may have to type, and servers may limit. 64 bits are out of reach of guesses
/// at a server, not of guesses at a hash that was stolen from it.
pub(super) const PASSWORD: Strength = Strength {
    least: 64,
    usual: 128,
};

/// What only programs handle. Whoever checks it may keep no more than a fast hash of it.
pub(super) const TOKEN: Strength = Strength {
    least: 128,
    usual: 256,
};

/// Text as it was ordered.
pub(super) fn text(
    order: &Order,
    strength: &Strength,
    random: &mut Random,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let alphabet = order.alphabet.unwrap_or(Alphabet::Alphanumeric);
    let least = alphabet.length(strength.least);
    let length = order
        .length
        .unwrap_or_else(|| alphabet.length(strength.usual));
    if length < least {
        return Err(invalid(format!(
            "{length} characters ({}) would be worth less than {} bits: ask for {least} or more",
            alphabet.name(),
            strength.least
        )));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(random.symbols(&alphabet.symbols(), length))
}

fn invalid(wrong: String) -> Refused {
    Refused::Invalid(wrong)
}

#[cfg(test)]
mod tests;
