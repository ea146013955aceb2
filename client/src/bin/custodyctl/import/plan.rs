//! What an import is going to store: names, types and public metadata, checked as custodyd does.

use std::collections::{BTreeMap, BTreeSet};

use custody::{
    name::{GroupName, SecretId},
    secret::{Kind, Properties, fields::Fields},
};

use super::walk::{Source, valid};

/// Something that may become a secret.
pub(super) struct Candidate {
    /// What it is to be called, after the prefix.
    pub(super) name: String,
    /// Its type.
    pub(super) kind: &'static str,
    pub(super) fields: Fields,
    /// Where it comes from, for people.
    pub(super) from: String,
    /// The sources it is made of, by number.
    pub(super) sources: BTreeSet<usize>,
}

/// A secret that is ready to be stored. Its `Debug` shows no content.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) secret: SecretId,
    pub(super) kind: Kind,
    pub(super) fields: Fields,
    pub(super) properties: Properties,
    pub(super) from: String,
    pub(super) sources: BTreeSet<usize>,
}

/// What does not become a secret.
#[derive(Debug)]
pub(super) struct Left {
    /// Where it is.
    pub(super) source: String,
    pub(super) why: String,
    /// Whether it may be a secret all the same.
    pub(super) is_fault: bool,
}

impl Left {
    /// Something of a whole source.
    pub(super) fn new(source: &Source, why: impl Into<String>, is_fault: bool) -> Self {
        Self {
            source: source.shown.clone(),
            why: why.into(),
            is_fault,
        }
    }
}

/// Everything that was found, sorted.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) items: Vec<Item>,
    pub(super) left: Vec<Left>,
    /// Sources that hold something which is in no item.
    pub(super) needed: BTreeSet<usize>,
}

impl Plan {
    /// Leaves something that source `at` holds.
    pub(super) fn leave(&mut self, at: usize, left: Left) {
        self.needed.insert(at);
        self.left.push(left);
    }

    /// Makes an item of each candidate that its type takes, if no other has its name.
    pub(super) fn add(&mut self, group: &GroupName, prefix: &str, candidates: Vec<Candidate>) {
        let mut named: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        for candidate in candidates {
            let name = valid(&format!("{prefix}{}", candidate.name));
            named.entry(name).or_default().push(candidate);
        }
        for (name, candidates) in named {
            let others: Vec<_> = candidates.iter().map(|one| one.from.clone()).collect();
            for candidate in candidates {
                let (from, sources) = (candidate.from.clone(), candidate.sources.clone());
                let item = match &others[..] {
                    [_] => Item::new(group, &name, candidate),
                    _ => Err(format!(
                        "would be {group}/{name}, and so would others: {}; rename it, or import \
                         it by itself with --prefix",
                        others.join(", ")
                    )),
                };
                match item {
                    Ok(item) => self.items.push(item),
                    Err(why) => {
                        self.needed.extend(sources);
                        self.left.push(Left {
                            source: from,
                            why,
                            is_fault: true,
                        });
                    }
                }
            }
        }
        self.left
            .sort_by(|one, other| one.source.cmp(&other.source));
    }

    /// How many things were left that may be secrets.
    pub(super) fn faults(&self) -> usize {
        self.left.iter().filter(|left| left.is_fault).count()
    }
}

impl Item {
    /// Checks a candidate as custodyd will; says what is wrong in the same words.
    fn new(group: &GroupName, name: &str, candidate: Candidate) -> Result<Self, String> {
        let Candidate {
            kind,
            fields,
            from,
            sources,
            ..
        } = candidate;
        let name = name.parse().map_err(|error| format!("{error}"))?;
        let accepted = Kind::from_name(kind).and_then(|kind| kind.accept(fields));
        let accepted = accepted.map_err(|refused| format!("as a {kind}: {refused}"))?;
        let fields = Fields::decode(&accepted.content).ok_or("it is not as its type left it")?;
        Ok(Self {
            secret: SecretId {
                group: group.clone(),
                name,
            },
            kind: accepted.kind,
            fields,
            properties: accepted.properties,
            from,
            sources,
        })
    }

    /// What tells it from others, out of its public metadata.
    pub(super) fn summary(&self) -> String {
        const TELLING: [&str; 7] = [
            "subject",
            "subjects",
            "not-after",
            "key-algorithm",
            "names",
            "username",
            "crl",
        ];
        let is_certificate = self.properties.iter().any(|(name, _)| name == "subject");
        let telling = self.properties.iter().filter(|(name, _)| {
            let is_shown = TELLING.contains(&name.as_str());
            is_shown && !(is_certificate && matches!(&**name, "key-algorithm" | "names"))
        });
        let lines = telling.take(2).map(|(name, value)| {
            let short: String = value.chars().take(60).collect();
            let more = if short.len() < value.len() { "…" } else { "" };
            format!("{name} {short}{more}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
