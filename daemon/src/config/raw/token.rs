//! `[token]`: which it is, and how it is used.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize, path::PathBuf};

use custody::envelope::Wrapping;
use hsm::{CodeOverride, PinSource, Profile, TokenSelector};
use jiff::SignedDuration;
use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::{
    super::{Problem, Token, Worker},
    absolute, positive, size,
};

/// One table, or several.
pub(super) struct RawTokens(Vec<RawToken>);

impl<'de> Deserialize<'de> for RawTokens {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // As an untagged enum it would not say what is wrong.
        from.deserialize_any(OneOrSeveral)
    }
}

struct OneOrSeveral;

impl<'de> Visitor<'de> for OneOrSeveral {
    type Value = RawTokens;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table [token], or several [[token]]")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawTokens, A::Error> {
        let token = RawToken::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RawTokens(vec![token]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<RawTokens, A::Error> {
        let tokens = Vec::deserialize(SeqAccessDeserializer::new(seq))?;
        Ok(RawTokens(tokens))
    }
}

impl RawTokens {
    pub(super) fn check(self) -> Result<(Vec<Token>, Vec<Worker>), Problem> {
        let checked = self.0.into_iter().map(RawToken::check);
        let checked: Vec<_> = checked.collect::<Result<_, _>>()?;
        let (tokens, workers): (Vec<Token>, Vec<_>) = checked.into_iter().unzip();
        for (nth, token) in tokens.iter().enumerate() {
            if tokens[..nth].iter().any(|it| it.selector == token.selector) {
                return Err(Problem::TokenTwice(token.selector.clone()));
            }
        }
        match tokens.is_empty() {
            true => Err(Problem::NoToken),
            false => Ok((tokens, workers)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawToken {
    module: PathBuf,
    label: Option<String>,
    serial: Option<String>,
    uri: Option<String>,
    pin: RawPin,
    next_pin: Option<RawPin>,
    #[serde(default = "two")]
    workers: NonZeroUsize,
    #[serde(default = "a_day")]
    worker_age: SignedDuration,
    #[serde(default = "worker_growth")]
    worker_growth: String,
    #[serde(default = "two")]
    sessions: NonZeroUsize,
    #[serde(default = "a_thousand")]
    unwrapped_keys: NonZeroUsize,
    #[serde(default = "queue")]
    queue: NonZeroUsize,
    #[serde(default = "five_seconds")]
    deadline: SignedDuration,
    #[serde(default = "a_minute")]
    start_deadline: SignedDuration,
    #[serde(default = "five_seconds")]
    longest_wait: SignedDuration,
    #[serde(default = "half_a_minute")]
    canary_interval: SignedDuration,
    #[serde(default = "all_wrappings")]
    wrapping: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default = "auto")]
    profile: String,
    #[serde(default)]
    ckr_overrides: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPin {
    Word(String),
    Source(RawPinSource),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum RawPinSource {
    Credential(String),
    File(PathBuf),
    Descriptor(i32),
}

fn two() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1)
}

fn a_thousand() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(999)
}

fn a_day() -> SignedDuration {
    SignedDuration::from_hours(24)
}

fn worker_growth() -> String {
    "256MiB".to_owned()
}

fn queue() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1023)
}

fn five_seconds() -> SignedDuration {
    SignedDuration::from_secs(5)
}

fn half_a_minute() -> SignedDuration {
    SignedDuration::from_secs(30)
}

fn a_minute() -> SignedDuration {
    SignedDuration::from_mins(1)
}

/// The profile that the module's library tells.
const AUTO: &str = "auto";

fn auto() -> String {
    AUTO.to_owned()
}

fn all_wrappings() -> Vec<String> {
    Wrapping::ALL
        .map(|wrapping| wrapping.name().to_owned())
        .into()
}

impl RawPin {
    fn check(self, file_key: &'static str) -> Result<PinSource, Problem> {
        match self {
            Self::Source(RawPinSource::Credential(name)) => Ok(PinSource::Credential(name)),
            Self::Source(RawPinSource::File(file)) => {
                Ok(PinSource::File(absolute(file_key, file)?))
            }
            Self::Source(RawPinSource::Descriptor(number)) => Ok(PinSource::Descriptor(number)),
            Self::Word(word) if word == "prompt" => Ok(PinSource::Prompt),
            Self::Word(_) => Err(Problem::Pin),
        }
    }
}

impl RawToken {
    fn check(self) -> Result<(Token, Worker), Problem> {
        let selector = match (self.label, self.serial, self.uri) {
            (Some(label), Some(serial), None) => TokenSelector::new(label, serial),
            (None, None, Some(uri)) => uri.parse().map_err(Problem::TokenUri)?,
            _ => return Err(Problem::TokenName),
        };
        let pin = self.pin.check("token.pin.file")?;
        let next_pin = self.next_pin.map(|next| next.check("token.next-pin.file"));
        let next_pin = next_pin.transpose()?;
        if let Some(next) = &next_pin
            && !(pin.can_be_read_again() && next.can_be_read_again() && pin != *next)
        {
            return Err(Problem::NextPin);
        }
        let wrapping = |name: String| Wrapping::from_name(&name).ok_or(Problem::Wrapping(name));
        let wrappings: Vec<_> = self
            .wrapping
            .into_iter()
            .map(wrapping)
            .collect::<Result<_, _>>()?;
        if wrappings.is_empty() {
            return Err(Problem::NoWrapping);
        }
        let profile = match &*self.profile {
            AUTO => None,
            name => Some(Profile::from_name(name).ok_or(Problem::Profile(self.profile))?),
        };
        let overrides = self.ckr_overrides.iter();
        let overrides = overrides.map(|(code, class)| CodeOverride::new(code, class));
        let token = Token {
            selector,
            workers: self.workers,
            sessions: self.sessions,
            queue: self.queue,
            deadline: positive("token.deadline", self.deadline)?,
            longest_wait: positive("token.longest-wait", self.longest_wait)?,
            canary_interval: positive("token.canary-interval", self.canary_interval)?,
        };
        let worker = Worker {
            module: absolute("token.module", self.module)?,
            environment: self.environment.into_iter().collect(),
            pin,
            next_pin,
            age: positive("token.worker-age", self.worker_age)?,
            growth: size("token.worker-growth", &self.worker_growth)?,
            unwrapped_keys: self.unwrapped_keys,
            start_deadline: positive("token.start-deadline", self.start_deadline)?,
            wrappings,
            codes: hsm::Codes {
                profile,
                overrides: overrides.collect::<Result<_, _>>()?,
            },
        };
        Ok((token, worker))
    }
}
