//! What a row's tag is over: all of its columns, in one canonical encoding.

use super::{Row, System};
use crate::{
    canonical::Encoder,
    label::About,
    name::{SecretId, VersionId},
    policy::rule::Terms,
    selector::Selector,
};

impl System {
    pub(super) fn encode(&self) -> Vec<u8> {
        Encoder::new("custodyd system row")
            .bytes(self.instance.as_bytes())
            .bytes(self.gmk.as_bytes())
            .text(self.wrapping.name())
            .bytes(self.canary.blob())
            .bytes(self.row_key.blob())
            .bytes(self.journal_key.as_bytes())
            .bytes(&self.journal_public_key)
            .text(&self.token_label)
            .text(&self.token_serial)
            .u64(self.created)
            .finish()
    }
}

impl Row {
    pub(super) fn encode(&self, change: u64) -> Vec<u8> {
        let start = |kind: &str| Encoder::new("custodyd row").text(kind).u64(change);
        match self {
            Self::Group(group) => start("group")
                .text(group.name.as_str())
                .text(group.purpose.business_group.as_str())
                .text(group.purpose.environment.as_str())
                .then(|encoder| about(encoder, &group.purpose.about))
                .optional(group.cache, |encoder, terms| {
                    encoder
                        .u32(terms.seconds())
                        .u32(terms.uses())
                        .u32(terms.outage_seconds())
                })
                .list(&Vec::from_iter(group.holders.tokens()), |encoder, token| {
                    encoder.text(&token.label).text(&token.serial)
                })
                .text(group.holders.writes().name())
                .text(group.keeping.name())
                .u64(group.created)
                .u32(group.created_by),
            Self::MasterKey(key) => start("master-key")
                .bytes(key.id.as_bytes())
                .text(key.group.as_str())
                .u32(key.generation)
                .text(key.state.name())
                .optional(key.state.emptied(), Encoder::u64)
                .optional(key.state.doom(), Encoder::u64)
                .text(key.wrapping.name())
                .bytes(key.canary.blob())
                .text(&key.token.label)
                .text(&key.token.serial)
                .optional(key.blob.as_ref(), |encoder, blob| {
                    let encoder = encoder.bytes(blob.root.as_bytes());
                    encoder.text(blob.by.name()).bytes(&blob.wrapped)
                })
                .u64(key.reserved)
                .u64(key.created),
            Self::Secret(secret) => secret_id(start("secret"), &secret.id)
                .text(secret.kind.name())
                .optional(secret.current, Encoder::u32)
                .optional(secret.previous, Encoder::u32)
                .optional(secret.pending, Encoder::u32)
                .optional(secret.keep, |encoder, keep| encoder.u32(keep.get()))
                .then(|encoder| about(encoder, &secret.about))
                .u64(secret.created)
                .u32(secret.created_by),
            Self::Version(version) => version_id(start("version"), &version.id)
                .u64(version.size)
                .bytes(version.sealed.as_bytes())
                .u32(version.dek_generation)
                .optional(version.exposed, Encoder::u32)
                .bytes(version.fingerprint.as_bytes())
                .list(&version.properties, |encoder, (name, value)| {
                    encoder.text(name).text(value)
                })
                .text(version.state.name())
                .optional(version.state.doom(), Encoder::u64)
                .optional(version.valid_until, Encoder::u64)
                .u64(version.created)
                .u32(version.created_by),
            Self::Wrap(wrap) => version_id(start("wrap"), &wrap.version)
                .bytes(wrap.gmk.as_bytes())
                .bytes(wrap.wrapped.blob()),
            Self::Rule(rule) => terms(
                start("grant")
                    .bytes(rule.id.as_bytes())
                    .text(rule.group.as_str())
                    .list(rule.patterns.as_slice(), |encoder, pattern| {
                        encoder.text(&pattern.to_string())
                    })
                    .list(rule.selectors.as_slice(), selector),
                &rule.terms,
            )
            .u64(rule.created)
            .u32(rule.created_by),
            Self::Compliance(adopted) => start("compliance")
                .text(adopted.group.as_str())
                .text(&adopted.rules.to_json())
                .u64(adopted.set)
                .u32(adopted.set_by),
            Self::Assignment(held) => start("role")
                .bytes(held.id.as_bytes())
                .text(held.role.name())
                .optional(held.group.as_ref(), |encoder, group| {
                    encoder.text(group.as_str())
                })
                .list(held.selectors.as_slice(), selector)
                .u64(held.created)
                .optional(held.created_by, Encoder::u32),
            Self::Trustee(trustee) => start("trustee")
                .text(&trustee.token.label)
                .text(&trustee.token.serial)
                .bytes(trustee.gmk.as_bytes())
                .text(trustee.wrapping.name())
                .bytes(trustee.canary.blob())
                .bytes(trustee.row_key.blob())
                .bytes(trustee.journal_key.as_bytes())
                .bytes(&trustee.journal_public_key)
                .optional(trustee.voucher.as_ref(), |encoder, voucher| {
                    encoder.text(&voucher.public_key).text(&voucher.voucher)
                })
                .u64(trustee.joined)
                .optional(trustee.lost, Encoder::u64),
        }
        .finish()
    }
}

pub(super) fn secret_id(encoder: Encoder, id: &SecretId) -> Encoder {
    encoder.text(id.group.as_str()).text(id.name.as_str())
}

fn about(encoder: Encoder, about: &About) -> Encoder {
    encoder
        .text(about.description.as_str())
        .list(about.labels.as_slice(), |encoder, (key, value)| {
            encoder.text(key.as_str()).text(value.as_str())
        })
}

fn selector(encoder: Encoder, selector: &Selector) -> Encoder {
    encoder.text(&selector.to_string())
}

fn terms(encoder: Encoder, terms: &Terms) -> Encoder {
    encoder
        .optional(terms.kind, |encoder, kind| encoder.text(kind.name()))
        .list(&Vec::from_iter(&terms.fields), |encoder, field| {
            encoder.text(field)
        })
        .optional(terms.not_before, Encoder::u64)
        .optional(terms.not_after, Encoder::u64)
        .optional(terms.uses, |encoder, uses| encoder.u64(uses.get()))
        .optional(terms.rate, |encoder, rate| {
            encoder.u32(rate.uses).u32(rate.seconds)
        })
}

fn version_id(encoder: Encoder, id: &VersionId) -> Encoder {
    secret_id(encoder, &id.secret).u32(id.number)
}
