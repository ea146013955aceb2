//! What comes with an error besides its code and sentence: messages of `google.rpc`.

use prost::Message;
use prost_types::Any;

const PREFIX: &str = "type.googleapis.com/";

/// `google.rpc.Status`, as it is in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// The detail called `name`, if there is one.
pub(crate) fn of<T: Message + Default>(details: &[u8], name: &str) -> Option<T> {
    let mut all = Details::decode(details).ok()?.details.into_iter();
    let detail = all.find(|any| any.type_url.strip_prefix(PREFIX) == Some(name))?;
    T::decode(&*detail.value).ok()
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// `google.rpc.PreconditionFailure`.
#[derive(Clone, PartialEq, Message)]
struct PreconditionFailure {
    #[prost(message, repeated, tag = "1")]
    violations: Vec<Violation>,
}

#[derive(Clone, PartialEq, Message)]
struct Violation {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(string, tag = "2")]
    subject: String,
    #[prost(string, tag = "3")]
    description: String,
}

/// What depends on that which would go.
pub(crate) struct Dependents {
    /// Whether it can go all the same.
    pub(crate) can_be_forced: bool,
    /// A line each.
    pub(crate) lines: Vec<String>,
}

/// What depends on that which would go, if that is why it does not.
pub(crate) fn dependents(details: &[u8]) -> Option<Dependents> {
    let info: ErrorInfo = of(details, "google.rpc.ErrorInfo")?;
    let can_be_forced = match (&*info.domain, &*info.reason) {
        ("custodyd", "IN_USE") => true,
        ("custodyd", "REFERRED_TO") => false,
        _ => return None,
    };
    let failure: Option<PreconditionFailure> = of(details, "google.rpc.PreconditionFailure");
    let violations = failure.unwrap_or_default().violations.into_iter();
    let lines = violations.map(|violation| match &*violation.description {
        "" => violation.subject,
        description => format!("{}: {description}", violation.subject),
    });
    Some(Dependents {
        can_be_forced,
        lines: lines.collect(),
    })
}

#[cfg(test)]
pub(crate) fn encode<const N: usize>(details: [(&str, Vec<u8>); N]) -> Vec<u8> {
    let details = details.map(|(name, value)| Any {
        type_url: format!("{PREFIX}{name}"),
        value,
    });
    Details {
        details: details.into(),
    }
    .encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_is_told_by_custodyds_own_reasons_only() {
        let failure = PreconditionFailure {
            violations: vec![
                Violation {
                    r#type: "CONSUMER".into(),
                    subject: "unix:uid:33".into(),
                    description: String::new(),
                },
                Violation {
                    r#type: "REFERENCE".into(),
                    subject: "web/ctx@1#keystore".into(),
                    description: "the version is disabled".into(),
                },
            ],
        };
        let of = |reason: &str, domain: &str| {
            let info = ErrorInfo {
                reason: reason.into(),
                domain: domain.into(),
            };
            dependents(&encode([
                ("google.rpc.ErrorInfo", info.encode_to_vec()),
                ("google.rpc.PreconditionFailure", failure.encode_to_vec()),
            ]))
        };
        let found = of("IN_USE", "custodyd").unwrap();
        assert!(found.can_be_forced);
        assert_eq!(
            found.lines,
            ["unix:uid:33", "web/ctx@1#keystore: the version is disabled"]
        );
        assert!(!of("REFERRED_TO", "custodyd").unwrap().can_be_forced);
        assert!(of("IN_USE", "example.org").is_none());
        assert!(of("EXPIRED", "custodyd").is_none());
        assert!(dependents(b"\xff").is_none());
    }
}
