//! The one table from what happened to what a client may know of it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use custody::{
    caller::observation::Credentials, change, journal::Surface, lint::Finding,
    state::links::Dangling,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{attest::Peer, backup, custodian::Error, metrics::Requests, throttle::TooMany};

/// When a client may try again what failed for want of something that comes back.
const RETRY: Duration = Duration::from_millis(200);

/// Number of a request, to find in the log what the client was not told.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// What was asked, by whom.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) surface: Surface,
    pub(crate) operation: &'static str,
    pub(crate) peer: Arc<Peer>,
    /// Group and name, if it is about a secret.
    pub(crate) secret: Option<(String, String)>,
    pub(crate) since: Instant,
    /// Where the answer is counted.
    pub(crate) requests: Requests,
}

impl Asked {
    /// Turns what it came to into an answer. Loses detail on purpose: the log has it,
    /// under the request's id, which the client gets.
    pub(crate) fn answer<T>(&self, result: Result<T, Error>) -> Result<T, Status> {
        let code = match &result {
            Ok(_) => Code::Ok,
            Err(error) => known(self.surface, error).0,
        };
        let took = self.since.elapsed();
        self.requests
            .answered(self.surface, self.operation, code, took);
        result.map_err(|error| {
            let request = REQUESTS.fetch_add(1, Ordering::Relaxed);
            let (code, sentence) = known(self.surface, &error);
            self.log(request, code, &error);
            let mut details = ErrorDetails::new();
            details.set_request_info(format!("{request}"), "");
            say_what_depends(&error, &mut details);
            if code == Code::Unavailable {
                details.set_retry_info(Some(RETRY));
            }
            Status::with_error_details(code, sentence, details)
        })
    }

    fn log(&self, request: u64, code: Code, error: &Error) {
        let cause = error as &dyn std::error::Error;
        let Credentials { pid, uid, .. } = self.peer.connected();
        let secret = self
            .secret
            .as_ref()
            .map(|(group, name)| format!("{group}/{name}"));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request,
                    operation = self.operation,
                    pid,
                    uid,
                    secret,
                    ?code,
                    error.cause = cause,
                    "refused"
                )
            };
        }
        match code {
            Code::Internal | Code::DataLoss => line!(error),
            Code::Unavailable => line!(warn),
            _ => line!(info),
        }
    }
}

/// The answer to a request that was not even read. It is not logged: there may be very
/// many, and the throttle tells of them.
pub(super) fn too_many(TooMany(after): TooMany) -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(after));
    Status::with_error_details(Code::ResourceExhausted, "too many requests", details)
}

/// The answer to every request while there is no token yet: nobody was attested.
pub(crate) fn no_token() -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(RETRY));
    let sentence = "custodyd waits for its token; try again later";
    Status::with_error_details(Code::Unavailable, sentence, details)
}

const DENIED: &str = "denied";
const LATER: &str = "try again later";
const DAMAGED: &str = "what is stored is not what was written; the operator has to act";
const INTERNAL: &str = "internal error";

/// The code, and the sentence that goes with it. What is wrong with an operator's own
/// input is said in full; a service learns no more than whether it may, and when.
fn known(surface: Surface, error: &Error) -> (Code, String) {
    let fixed = |code, sentence: &str| (code, sentence.to_owned());
    match error {
        Error::Unattested(drift) | Error::Drift(drift) if drift.may_pass() => {
            fixed(Code::Unavailable, LATER)
        }
        Error::Unattested(_) | Error::Denied(_) | Error::PartDenied(..) | Error::Drift(_) => {
            fixed(Code::PermissionDenied, DENIED)
        }
        Error::NotAdmitted(refused) => (Code::PermissionDenied, refused.to_string()),
        Error::Database(error) if error.is_bad_data() => fixed(Code::DataLoss, DAMAGED),
        Error::Unrecorded(_)
        | Error::Unreadable(_)
        | Error::Database(_)
        | Error::Overtaken(_)
        | Error::Renewed(_)
        | Error::Busy(_)
        | Error::Stopping => fixed(Code::Unavailable, LATER),
        Error::WornOut(_) if surface == Surface::Manager => (Code::Unavailable, error.to_string()),
        Error::WornOut(_) => fixed(Code::Unavailable, LATER),
        Error::Unsettled(_) => fixed(
            Code::Unavailable,
            "the change was made, but the journal could not confirm it; look before you repeat it",
        ),
        Error::Hsm(error) if error.is_transient() && surface == Surface::Manager => {
            (Code::Unavailable, error.to_string())
        }
        Error::Hsm(error) if error.is_transient() => fixed(Code::Unavailable, LATER),
        Error::Hsm(error) if error.is_bad_data() => fixed(Code::DataLoss, DAMAGED),
        Error::Hsm(error) if surface == Surface::Manager => (Code::Internal, error.to_string()),
        Error::Hsm(_) | Error::NoFields | Error::Seal(_) | Error::Random => {
            fixed(Code::Internal, INTERNAL)
        }
        Error::Tampered(_) => fixed(Code::DataLoss, DAMAGED),
        Error::Malformed { .. } | Error::Content(_) | Error::Senseless(_) | Error::Names(_) => {
            (Code::InvalidArgument, error.to_string())
        }
        // Only who has a grant gets as far, and is told the type with the content.
        Error::Format(refused) => (Code::FailedPrecondition, refused.to_string()),
        Error::Hopeless(findings) => (Code::InvalidArgument, lines(findings)),
        Error::Weak(findings) => (Code::FailedPrecondition, lines(findings)),
        Error::InUse(_) => (Code::FailedPrecondition, error.to_string()),
        Error::Backup(error @ (backup::Error::NoRoom { .. } | backup::Error::Occupied)) => {
            (Code::FailedPrecondition, error.to_string())
        }
        Error::Backup(error @ backup::Error::NoSuchBackup(_)) => {
            (Code::NotFound, error.to_string())
        }
        Error::Backup(error @ backup::Error::Beyond { .. }) => {
            (Code::InvalidArgument, error.to_string())
        }
        Error::Backup(_) => fixed(Code::Unavailable, LATER),
        Error::TooManyWatches => (Code::ResourceExhausted, error.to_string()),
        Error::NoProcess(_) | Error::NobodyInUnit(_) => (Code::NotFound, error.to_string()),
        Error::Change(change) => (code_of(change), change.to_string()),
    }
}

/// Whose reasons those are that [`say_what_depends`] gives.
const DOMAIN: &str = "custodyd";

/// What depends on that which would go, for programs; and whether it can go by force.
fn say_what_depends(error: &Error, details: &mut ErrorDetails) {
    let (reason, consumers, referrers, hidden): (_, &[_], &[_], _) = match error {
        Error::InUse(of) => ("IN_USE", &of.consumers, &of.referrers, of.hidden),
        Error::Change(change::Error::ReferredTo { by, hidden, .. }) => {
            ("REFERRED_TO", &[], by, *hidden)
        }
        _ => return,
    };
    details.set_error_info(reason, DOMAIN, HashMap::new());
    for consumer in consumers {
        details.add_precondition_failure_violation("CONSUMER", consumer.clone(), "");
    }
    for Dangling { link, problem } in referrers {
        let subject = format!("{}#{}", link.from, link.field);
        details.add_precondition_failure_violation("REFERENCE", subject, problem.to_string());
    }
    if hidden > 0 {
        let subject = change::listed(&[], hidden);
        details.add_precondition_failure_violation("REFERENCE", subject, "");
    }
}

/// Findings as people read them, one a line.
fn lines(findings: &[Finding]) -> String {
    let lines: Vec<_> = findings
        .iter()
        .map(|finding| {
            let Finding {
                code,
                problem,
                remedy,
                ..
            } = finding;
            format!("{code}: {problem}; {remedy}")
        })
        .collect();
    lines.join("\n")
}

fn code_of(error: &change::Error) -> Code {
    match error {
        change::Error::GroupExists(_) => Code::AlreadyExists,
        change::Error::TooFewTokens { .. } => Code::Unavailable,
        change::Error::NoSuchTrustee(_) => Code::NotFound,
        change::Error::TrusteeExists(_)
        | change::Error::LastToken { .. }
        | change::Error::WouldLose { .. } => Code::FailedPrecondition,
        change::Error::RefersUnseen { .. } => Code::PermissionDenied,
        change::Error::NoSuchGroup(_)
        | change::Error::NoSuchSecret(_)
        | change::Error::NoSuchGrant(_)
        | change::Error::NoSuchAssignment(_)
        | change::Error::NotRequested(_)
        | change::Error::NoSuchMasterKey { .. }
        | change::Error::NoSuchVersion { .. } => Code::NotFound,
        change::Error::Said(_)
        | change::Error::NoGroupRole(_)
        | change::Error::LongGrace
        | change::Error::LongKeyGrace => Code::InvalidArgument,
        change::Error::OtherKind { .. }
        | change::Error::NoProtectingKey { .. }
        | change::Error::NoMoreVersions(_)
        | change::Error::NoMoreGenerations(_)
        | change::Error::NotProtecting(_)
        | change::Error::NotNewest { .. }
        | change::Error::KeyLife { .. }
        | change::Error::Compromised { .. }
        | change::Error::Refers(_)
        | change::Error::ReferredTo { .. }
        | change::Error::LastCryptoOfficer(_)
        | change::Error::NotCurrent { .. }
        | change::Error::SaidOtherwise(_)
        | change::Error::Requested(_)
        | change::Error::Unopened { .. }
        | change::Error::Noncompliant { .. }
        | change::Error::Unlabelled { .. }
        | change::Error::Life { .. } => Code::FailedPrecondition,
    }
}

#[cfg(test)]
mod tests {
    use custody::{
        caller::observation::{Doubt, Drift},
        name::{SecretId, VersionId},
        policy::{Reason, Via},
    };

    use super::*;
    use crate::attest::Attestor;

    #[test]
    fn every_denial_looks_the_same() {
        let denials = [
            Error::Denied(Reason::NoGrant),
            Error::Denied(Reason::NoSuchSecret),
            Error::Denied(Reason::NoSuchVersion),
            Error::PartDenied(
                Via {
                    version: VersionId {
                        secret: SecretId {
                            group: "web".parse().unwrap(),
                            name: "ctx".parse().unwrap(),
                        },
                        number: 1,
                    },
                    field: "keystore",
                },
                Reason::NoGrant,
            ),
            Error::Unattested(Doubt::MixedUids.into()),
            Error::Drift(Drift::Exe),
        ];
        for denial in denials {
            let seen = known(Surface::Provider, &denial);
            assert_eq!(
                seen,
                (Code::PermissionDenied, DENIED.to_owned()),
                "{denial}"
            );
        }
    }

    #[tokio::test]
    async fn what_may_work_later_says_when() {
        let (ours, _theirs) = tokio::net::UnixStream::pair().unwrap();
        let asked = Asked {
            surface: Surface::Provider,
            operation: "fetch",
            peer: Arc::new(Peer::of(&ours, &Attestor::alone()).await.unwrap()),
            secret: None,
            since: Instant::now(),
            requests: Requests::default(),
        };
        let status = asked.answer::<()>(Err(Error::Stopping)).unwrap_err();
        let details = status.get_error_details();
        let retry = details.retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(RETRY));
        assert!(details.request_info().is_some());
    }
}
