//! Compliance: what a group demands of its secrets, over what anyone may know of them.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    group::Millis,
    label::{Key, Labels},
    secret::{
        Kind, Properties,
        version::{Secret, Version},
    },
};

pub mod rules;

use rules::{KeyAlgorithm, Rules, SignatureAlgorithm, SymmetricAlgorithm, TlsVersion};

/// Milliseconds of a day.
const DAY: Millis = 24 * 60 * 60 * 1000;

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is named for what is wrong")]
pub enum Code {
    KeySize,
    KeyAlgorithm,
    SignatureAlgorithm,
    TlsVersion,
    Validity,
    EndsSoon,
    Ended,
    Age,
    Label,
}

impl Code {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::KeySize,
        Self::KeyAlgorithm,
        Self::SignatureAlgorithm,
        Self::TlsVersion,
        Self::Validity,
        Self::EndsSoon,
        Self::Ended,
        Self::Age,
        Self::Label,
    ];

    /// The name in the journal, on the wire and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeySize => "key-size",
            Self::KeyAlgorithm => "key-algorithm",
            Self::SignatureAlgorithm => "signature-algorithm",
            Self::TlsVersion => "tls-version",
            Self::Validity => "validity",
            Self::EndsSoon => "ends-soon",
            Self::Ended => "ended",
            Self::Age => "age",
            Self::Label => "label",
        }
    }

    /// Whether a write is refused for it: a warning alone is no reason.
    pub fn refuses(self) -> bool {
        self != Self::EndsSoon
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a version, by the rules of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind.
    pub code: Code,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.code, self.problem, self.remedy)
    }
}

/// What a version is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The type of its secret.
    pub kind: Kind,
    /// What its type published of it.
    pub properties: &'a Properties,
    /// When it was written.
    pub written: Millis,
    /// The labels of its secret.
    pub labels: &'a Labels,
}

impl<'a> Subject<'a> {
    /// A stored version of `secret`.
    pub fn of(secret: &'a Secret, version: &'a Version) -> Self {
        Self {
            kind: secret.kind,
            labels: &secret.about.labels,
            properties: &version.properties,
            written: version.created,
        }
    }

    fn property(&self, wanted: &str) -> Option<&'a str> {
        let mut found = self.properties.iter().filter(|(name, _)| name == wanted);
        found.next().map(|(_, value)| value.as_str())
    }
}

/// What was found, and until when it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// When time alone will change that.
    pub next: Option<Millis>,
}

impl Verdict {
    fn find(&mut self, code: Code, problem: String, remedy: impl Into<String>) {
        self.findings.push(Finding {
            code,
            problem,
            remedy: remedy.into(),
        });
    }

    /// Whether `at` has come; if not, it will change things when it does.
    fn reached(&mut self, at: Millis, now: Millis) -> bool {
        if at > now {
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
        at <= now
    }
}

/// Judges `subject` by `rules`, as of `now`.
pub fn check(rules: &Rules, subject: Subject<'_>, now: Millis) -> Verdict {
    let mut verdict = Verdict::default();
    keys(rules, subject, &mut verdict);
    symmetric_key(rules, subject, &mut verdict);
    signature(rules, subject, &mut verdict);
    tls(rules, subject, &mut verdict);
    times(rules, subject, now, &mut verdict);
    verdict
        .findings
        .extend(lacking(rules, subject.labels, |_| true));
    verdict
}

/// What is found of a secret that has these labels, by the rules on those of which `of` holds.
pub(crate) fn lacking(
    rules: &Rules,
    labels: &Labels,
    of: impl Fn(&Key) -> bool,
) -> Option<Finding> {
    let required = rules.required_labels.iter();
    let missing = required.filter(|key| labels.get(key).is_none() && of(key));
    let missing: Vec<_> = missing.map(Key::as_str).collect();
    (!missing.is_empty()).then(|| Finding {
        code: Code::Label,
        problem: format!("it has no label {}", missing.join(", ")),
        remedy: "label it".to_owned(),
    })
}

/// Names of algorithms, as a sentence has them.
fn names<T: Copy>(all: &BTreeSet<T>, name: fn(T) -> &'static str) -> String {
    let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
    names.join(", ")
}

fn keys(rules: &Rules, subject: Subject<'_>, verdict: &mut Verdict) {
    let one = subject.property("key-algorithm");
    let several = subject.property("key-algorithms").unwrap_or_default();
    for key in one.into_iter().chain(several.split(", ")) {
        let (name, bits) = key.split_once(' ').unwrap_or((key, ""));
        if name.is_empty() {
            continue;
        }
        let algorithm = KeyAlgorithm::of(name);
        let allowed = &rules.key_algorithms;
        if !allowed.is_empty() && !algorithm.is_some_and(|algorithm| allowed.contains(&algorithm)) {
            let allowed = names(allowed, KeyAlgorithm::name);
            verdict.find(
                Code::KeyAlgorithm,
                format!("a key is {key}, and may be {allowed}"),
                format!("replace it by one that is {allowed}"),
            );
        }
        let least = match algorithm {
            Some(KeyAlgorithm::Rsa) => rules.min_rsa_bits,
            Some(KeyAlgorithm::Ec) => rules.min_ec_bits,
            _ => None,
        };
        if let (Some(least), Ok(bits)) = (least, bits.parse::<u32>())
            && bits < least.get()
        {
            verdict.find(
                Code::KeySize,
                format!("a key is {key}, below {least} bits"),
                format!("replace it by one of {least} bits or more"),
            );
        }
    }
}

fn symmetric_key(rules: &Rules, subject: Subject<'_>, verdict: &mut Verdict) {
    let (Some(algorithm), Some(bits)) = (subject.property("algorithm"), subject.property("bits"))
    else {
        return;
    };
    let allowed = &rules.symmetric_algorithms;
    let known = SymmetricAlgorithm::of(algorithm);
    if !allowed.is_empty() && !known.is_some_and(|known| allowed.contains(&known)) {
        let allowed = names(allowed, SymmetricAlgorithm::name);
        verdict.find(
            Code::KeyAlgorithm,
            format!("the key is for {algorithm}, and may be for {allowed}"),
            format!("replace it by one that is for {allowed}"),
        );
    }
    if let (Some(least), Ok(bits)) = (rules.min_symmetric_bits, bits.parse::<u32>())
        && bits < least.get()
    {
        verdict.find(
            Code::KeySize,
            format!("the key has {bits} bits, below {least}"),
            format!("replace it by one of {least} bits or more"),
        );
    }
}

fn signature(rules: &Rules, subject: Subject<'_>, verdict: &mut Verdict) {
    let Some(signed) = subject.property("signature-algorithm") else {
        return;
    };
    let allowed = &rules.signature_algorithms;
    let known = SignatureAlgorithm::of(signed);
    if !allowed.is_empty() && !known.is_some_and(|known| allowed.contains(&known)) {
        let allowed = names(allowed, SignatureAlgorithm::name);
        verdict.find(
            Code::SignatureAlgorithm,
            format!("the certificate is signed with {signed}, and may be with {allowed}"),
            format!("have it issued again, signed with {allowed}"),
        );
    }
}

fn tls(rules: &Rules, subject: Subject<'_>, verdict: &mut Verdict) {
    let Some(least) = rules.min_tls_version else {
        return;
    };
    if subject.kind.name() != "tls-context" {
        return;
    }
    // What is not said is the lowest that TLS contexts have.
    let lowest = subject.property("min-version").map(TlsVersion::of);
    let lowest = lowest.flatten().unwrap_or(TlsVersion::Tls12);
    if lowest < least {
        verdict.find(
            Code::TlsVersion,
            format!("it allows {}, below {}", lowest.name(), least.name()),
            format!("set its min-version to {}", least.name()),
        );
    }
}

fn days(number: std::num::NonZeroU32) -> Millis {
    Millis::from(number.get()) * DAY
}

fn times(rules: &Rules, subject: Subject<'_>, now: Millis, verdict: &mut Verdict) {
    if let (Some(longest), Some((from, to))) = (
        rules.max_validity_days,
        subject.kind.validity(subject.properties),
    ) {
        let length = to.saturating_sub(from);
        if length > days(longest) {
            verdict.find(
                Code::Validity,
                format!(
                    "it is valid for {} days, more than {longest}",
                    length.div_ceil(DAY)
                ),
                format!("have it issued for {longest} days at most"),
            );
        }
    }
    if let Some(end) = subject.kind.ends(subject.properties) {
        if verdict.reached(end, now) {
            let property = subject.kind.end_property().unwrap_or_default();
            verdict.find(
                Code::Ended,
                format!("its {property} is over"),
                "replace it by one that is valid",
            );
        } else if let Some(before) = rules.warn_before_days
            && verdict.reached(end.saturating_sub(days(before)), now)
        {
            verdict.find(
                Code::EndsSoon,
                format!("it ends within {before} days"),
                "renew it",
            );
        }
    }
    if let Some(longest) = rules.max_age_days {
        // At its age to the day it is still in order.
        let over = subject.written.saturating_add(days(longest) + 1);
        if verdict.reached(over, now) {
            verdict.find(
                Code::Age,
                format!("it was written more than {longest} days ago"),
                "rotate it: write a new version",
            );
        }
    }
}

#[cfg(test)]
mod tests;
