//! How grants are shown.

use client::v1;
use serde::Serialize;

use crate::{
    output::{View, or_dash, properties, time},
    when::short,
};

#[derive(Debug, Serialize)]
pub(crate) struct Grant {
    /// Missing when nothing was added.
    pub(crate) id: Option<String>,
    group: String,
    patterns: Vec<String>,
    selectors: Vec<String>,
    created: Option<String>,
    created_by: u32,
    terms: Terms,
    used: u64,
    last_used: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Terms {
    r#type: Option<String>,
    fields: Vec<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    uses: Option<u64>,
    rate_uses: Option<u32>,
    rate_seconds: Option<u32>,
}

impl From<v1::Grant> for Grant {
    fn from(grant: v1::Grant) -> Self {
        Self {
            id: Some(grant.id).filter(|id| !id.is_empty()),
            group: grant.group,
            patterns: grant.patterns,
            selectors: grant.selectors,
            created: time(grant.created.as_ref()),
            created_by: grant.created_by,
            terms: grant.terms.map(Into::into).unwrap_or_default(),
            used: grant.used,
            last_used: time(grant.last_used.as_ref()),
        }
    }
}

impl From<v1::Terms> for Terms {
    fn from(terms: v1::Terms) -> Self {
        Self {
            r#type: terms.r#type,
            fields: terms.fields,
            not_before: time(terms.not_before.as_ref()),
            not_after: time(terms.not_after.as_ref()),
            uses: terms.uses,
            rate_uses: terms.rate_uses,
            rate_seconds: terms.rate_seconds,
        }
    }
}

impl Terms {
    /// In short: "until 2026-12-31, 5 uses, 10/1m"; empty when nothing is limited.
    fn brief(&self) -> String {
        let fields = match &self.fields[..] {
            [] => None,
            [field] => Some(format!("field {field}")),
            several => Some(format!("fields {}", several.join("+"))),
        };
        let uses = self.uses.map(|uses| match uses {
            1 => "1 use".to_owned(),
            n => format!("{n} uses"),
        });
        let rate = self.rate_uses.zip(self.rate_seconds);
        let parts = [
            self.r#type.as_ref().map(|kind| format!("type {kind}")),
            fields,
            self.not_before
                .as_deref()
                .map(|at| format!("from {}", day(at))),
            self.not_after
                .as_deref()
                .map(|at| format!("until {}", day(at))),
            uses,
            rate.map(|(uses, seconds)| format!("{uses}/{}", short(seconds))),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// A time without what says midnight in UTC.
fn day(time: &str) -> &str {
    time.strip_suffix("T00:00:00Z").unwrap_or(time)
}

impl Grant {
    pub(crate) fn id(&self) -> String {
        or_dash(self.id.as_deref())
    }

    /// `GROUP/PATTERN`, one a line.
    pub(crate) fn secrets(&self) -> String {
        let secret = |pattern| format!("{}/{pattern}", self.group);
        let secrets: Vec<_> = self.patterns.iter().map(secret).collect();
        secrets.join("\n")
    }

    pub(crate) fn callers(&self) -> String {
        self.selectors.join("\n")
    }

    pub(crate) fn created(&self) -> String {
        or_dash(self.created.as_deref())
    }

    pub(super) fn terms(&self) -> String {
        or_dash(Some(&self.terms.brief()))
    }

    /// How often it was used, of how often it may be.
    pub(super) fn used(&self) -> String {
        match self.terms.uses {
            Some(uses) => format!("{} of {uses}", self.used),
            None => self.used.to_string(),
        }
    }

    pub(super) fn last_used(&self) -> String {
        or_dash(self.last_used.as_deref())
    }
}

impl View for Grant {
    fn text(&self) -> Option<String> {
        let there = self.id.is_some();
        properties([
            ("grant", self.id.clone()),
            ("secrets", Some(self.secrets())),
            ("callers", Some(self.callers())),
            (
                "terms",
                Some(self.terms.brief()).filter(|terms| !terms.is_empty()),
            ),
            ("added", self.created.clone().filter(|_| there)),
            (
                "added by",
                there.then(|| format!("uid {}", self.created_by)),
            ),
            ("used", there.then(|| self.used())),
            ("last used", self.last_used.clone()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(text: &str) -> Option<prost_types::Timestamp> {
        let at: jiff::Timestamp = text.parse().unwrap();
        Some(prost_types::Timestamp {
            seconds: at.as_second(),
            nanos: 0,
        })
    }

    #[test]
    fn terms_are_short() {
        assert_eq!(Terms::default().brief(), "");
        let all = v1::Terms {
            r#type: Some("keystore".into()),
            fields: vec!["a".into(), "b".into()],
            not_before: stamp("2026-01-02T03:04:05Z"),
            not_after: stamp("2026-12-31T00:00:00Z"),
            uses: Some(1),
            rate_uses: Some(10),
            rate_seconds: Some(60),
        };
        assert_eq!(
            Terms::from(all).brief(),
            "type keystore, fields a+b, from 2026-01-02T03:04:05Z, until 2026-12-31, 1 use, 10/1m"
        );
    }
}
