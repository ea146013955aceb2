//! What a token does, tried on keys of a session, which are gone with it.

use aws_lc_rs::digest;
use cryptoki::{
    error::Error as CkError, mechanism::Mechanism, object::Attribute, session::Session,
};
use custody::{
    envelope::{Form, KeyWrap, Wrapping},
    journal::signing::{Signature, Signing},
};

use super::Chart;
use crate::{
    wire::visit::Grade,
    worker::{
        captivity::Untrusted,
        key, pair,
        recovery::{self, Codes, Remedy},
        signing, strategy, template,
        token::Token,
        twins::Trial,
        wrap::{Fault, Maker},
    },
};

/// What is signed.
const PROBE: &[u8] = b"custodyd trial";

/// Everything that custodyd does with a token, each on a session of its own: what leaves one
/// stuck is not held against what comes after.
pub(super) fn all(token: &Token, sessions: u32, chart: &mut Chart) -> Option<()> {
    chart.step("sessions");
    on_session(token, chart, |_, chart| {
        self::sessions(token, sessions, chart);
    })?;
    if sessions > 1 && token.codes().profile.is_for_one() {
        let found = "this module is to be used by one thread of one process";
        let advice = "set token.workers and token.sessions to 1";
        chart.find(Grade::Warning, found, advice);
    }
    chart.step("random");
    on_session(token, chart, random)?;
    keeps_in(token, chart);
    let way = wrappings(token, chart)?;
    chart.step("attributes");
    on_session(token, chart, |session, chart| {
        let way = way.unwrap_or(Wrapping::Aes256Gcm);
        match way.form() {
            Form::Key => attributes(session, way, chart),
            Form::Twins => twin_attributes(session, token.codes(), chart),
            Form::Pair => pair_attributes(session, token.codes(), chart),
        }
    })?;
    chart.step("wrapped master keys");
    on_session(token, chart, wrapped_keys)?;
    signatures(token, chart)
}

fn on_session<T>(
    token: &Token,
    chart: &mut Chart,
    check: impl FnOnce(&Session, &mut Chart) -> T,
) -> Option<T> {
    match token.open_session() {
        Ok(session) => {
            let outcome = check(&session, chart);
            close(session);
            Some(outcome)
        }
        Err(error) => {
            let advice = "close what else uses the token, or have the limit raised";
            chart.find(Grade::Refused, recovery::describe(&error), advice);
            None
        }
    }
}

fn close(session: Session) {
    if let Err(error) = session.close() {
        let error = recovery::describe(&error);
        tracing::warn!(%error, "a session cannot be closed");
    }
}

/// As many as are configured, and the one more that replaces a session which is stuck.
fn sessions(token: &Token, wanted: u32, chart: &mut Chart) {
    let mut open = Vec::new();
    // One is open already.
    let outcome = (0..wanted).try_for_each(|_| {
        open.push(token.open_session()?);
        Ok::<_, CkError>(())
    });
    let count = open.len();
    open.into_iter().for_each(close);
    match outcome {
        Ok(()) => chart.fine(format!(
            "{} at a time, as many as token.sessions of all token.workers, and one more",
            count + 1
        )),
        Err(error) if count + 1 < usize::try_from(wanted).unwrap_or(usize::MAX) => {
            let found = format!("{} at a time; {}", count + 1, recovery::describe(&error));
            chart.find(
                Grade::Refused,
                found,
                "lower token.workers or token.sessions, or have the limit raised",
            );
        }
        Err(error) => {
            let found = format!(
                "as many as are needed and no more; {}",
                recovery::describe(&error)
            );
            let advice = "lower token.workers or token.sessions: a stuck session can only be replaced if there is room for one more";
            chart.find(Grade::Warning, found, advice);
        }
    }
}

fn random(session: &Session, chart: &mut Chart) {
    let draw = || session.generate_random_vec(32);
    match draw().and_then(|one| Ok((one, draw()?))) {
        Ok((one, other)) if one != other && one.iter().any(|byte| *byte != one[0]) => {
            chart.fine("32 bytes, and 32 others");
        }
        Ok(_) => {
            let advice = "do not use this token: its random numbers repeat";
            chart.find(Grade::Refused, "the same bytes twice", advice);
        }
        Err(error) => {
            let advice = "secrets that custodyd makes take randomness of the token, too";
            chart.find(Grade::Warning, recovery::describe(&error), advice);
        }
    }
}

fn keeps_in(token: &Token, chart: &mut Chart) {
    chart.step("keeps keys in");
    match token.keeps_keys_in() {
        Ok(()) => chart.fine(
            "a sensitive key that is not extractable cannot be read, wrapped, copied or changed into one that is",
        ),
        Err(why @ Untrusted::LetsOut(_)) => {
            let advice = "use another module: whoever has the PIN can take the master keys out of this one. custodyd run and init refuse it, too";
            chart.find(Grade::Refused, why.to_string(), advice);
        }
        Err(why @ Untrusted::Untried(_)) => {
            let advice = "custodyd run and init refuse a module that cannot be tried";
            chart.find(Grade::Refused, why.to_string(), advice);
        }
    }
}

/// The first way to wrap that works.
fn wrappings(token: &Token, chart: &mut Chart) -> Option<Option<Wrapping>> {
    let mut first = None;
    for way in token.allowed() {
        chart.step(way.name());
        let works = on_session(token, chart, |session, chart| {
            wrapping(session, token.codes(), *way, chart)
        })?;
        first = first.or(works.then_some(*way));
    }
    if first.is_none() {
        chart.step("wrapping");
        let found = "none of the ways of token.wrapping works";
        let advice = "this token cannot be used: docs/tokens says what custodyd needs of one";
        chart.find(Grade::Refused, found, advice);
    }
    Some(first)
}

fn wrapping(session: &Session, codes: &Codes, way: Wrapping, chart: &mut Chart) -> bool {
    match strategy::prove(session, codes, way) {
        Ok(proof) => {
            let answer = if proof.known_answer {
                "gives the known answer"
            } else {
                "opens what it wrapped (no known answer could be had of it)"
            };
            let refusals = match &proof.refusals[..] {
                [] => "altered data does not open".to_owned(),
                refusals => format!("to altered data, {}", distinct(refusals)),
            };
            let nonces = match proof.nonces {
                Some((_, maker)) if maker != Maker::Caller => format!("; the token {maker}"),
                _ => String::new(),
            };
            chart.fine(format!("{answer}; {refusals}{nonces}"));
            upsets(codes, &proof.refusals, chart);
            true
        }
        Err(amiss) => {
            let advice = "new master keys wrap in another way";
            chart.find(Grade::Note, amiss.what, advice);
            false
        }
    }
}

fn distinct(refusals: &[CkError]) -> String {
    let mut codes: Vec<_> = refusals.iter().map(recovery::describe).collect();
    codes.sort();
    codes.dedup();
    codes.join(", ")
}

/// Bad data must not be taken for a token in trouble.
fn upsets(codes: &Codes, refusals: &[CkError], chart: &mut Chart) {
    let upset = |error: &&CkError| codes.remedy(error) != Remedy::AskCanary;
    if let Some(error) = refusals.iter().find(upset) {
        let found = format!(
            "{} to altered data would not be put to the canary",
            recovery::describe(error)
        );
        let advice = "have the code taken for \"ambiguous\" in token.ckr-overrides";
        chart.find(Grade::Warning, found, advice);
    }
}

fn attributes(session: &Session, way: Wrapping, chart: &mut Chart) {
    let advice = "custodyd init refuses such keys: use another module, or its setting for this";
    let made = session.generate_key(&Mechanism::AesKeyGen, &template::trial_gmk(way));
    let key = match made {
        Ok(key) => key,
        Err(error) => return chart.find(Grade::Refused, recovery::describe(&error), advice),
    };
    match template::check(session, key, &template::conforming_trial(way)) {
        Ok(Ok(())) => chart.fine("a new key has all that a master key must have"),
        Ok(Err(why)) => chart.find(Grade::Refused, why, advice),
        Err(fault) => chart.find(Grade::Refused, said(fault), advice),
    }
    strategy::discard(session, key);
    let mut fixed = template::trial_gmk(way);
    fixed.push(Attribute::Modifiable(false));
    match session.generate_key(&Mechanism::AesKeyGen, &fixed) {
        Ok(key) => strategy::discard(session, key),
        Err(error) => {
            let found = format!("CKA_MODIFIABLE=false: {}", recovery::describe(&error));
            let advice = "whoever has the PIN can change what master keys are allowed to do; custodyd checks them at each start";
            chart.find(Grade::Note, found, advice);
        }
    }
}

/// As [`attributes`], of master keys that are two keys.
fn twin_attributes(session: &Session, codes: &Codes, chart: &mut Chart) {
    let advice = "custodyd init refuses such keys: use another module, or its setting for this";
    let trial = match Trial::make(session, codes) {
        Ok(trial) => trial,
        Err(fault) => return chart.find(Grade::Refused, said(fault), advice),
    };
    let [cipher, mac] = template::conforming_trial_twins(trial.owner);
    let checked = [(trial.twins.cipher, cipher), (trial.twins.mac, mac)]
        .map(|(key, expected)| template::check(session, key, &expected));
    let amiss = checked.into_iter().find_map(|checked| match checked {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(fault) => Some(said(fault)),
    });
    match amiss {
        None => chart.fine("two new keys have all that a master key must have"),
        Some(why) => chart.find(Grade::Refused, why, advice),
    }
    trial.discard(session);
}

/// As [`attributes`], of master keys that are pairs.
fn pair_attributes(session: &Session, codes: &Codes, chart: &mut Chart) {
    let advice = "custodyd init refuses such keys: use another module, or its setting for this";
    let trial = match pair::trial_opening(session, codes) {
        Ok(trial) => trial,
        Err(fault) => return chart.find(Grade::Refused, said(fault), advice),
    };
    let expected = template::conforming_trial_pair(trial.owner);
    match template::check(session, trial.pair.private, &expected) {
        Ok(Ok(())) => chart.fine("a new pair has all that a master key must have"),
        Ok(Err(why)) => chart.find(Grade::Refused, why, advice),
        Err(fault) => chart.find(Grade::Refused, said(fault), advice),
    }
    if !codes.profile.goes_by_attributes() {
        let found = "this module takes any change of a key's attributes";
        let advice = "what a key can do is up to the TPM: docs/tokens/tpm2.md says what is trusted";
        chart.find(Grade::Note, found, advice);
    }
    trial.discard(session);
}

/// Whether a group may keep its master keys outside, which none has to.
fn wrapped_keys(session: &Session, chart: &mut Chart) {
    let mut whys = Vec::new();
    for by in KeyWrap::ALL {
        let why = match key::keeps_wrapped(session, by) {
            Ok(Ok(())) => {
                return chart.fine(format!(
                    "a root key wraps master keys by {by}, and unwraps them only to what the token keeps in"
                ));
            }
            Ok(Err(why)) => why,
            Err(fault) => said(fault),
        };
        whys.push(format!("{by}: {why}"));
    }
    let advice = "the master keys of groups stay in the token: 'custodyctl group create --keep-key wrapped' is refused";
    chart.find(Grade::Note, whys.join("; "), advice);
}

/// The first way to sign that works; one that is not needed is not tried, since it may take long.
fn signatures(token: &Token, chart: &mut Chart) -> Option<()> {
    for way in Signing::ALL {
        chart.step(way.name());
        let works = on_session(token, chart, |session, chart| {
            signature(session, token.codes(), way, chart)
        })?;
        if works {
            return Some(());
        }
    }
    chart.step("signing");
    let found = "none of the ways to sign the journal works";
    let advice = "this token cannot be used: docs/tokens says what custodyd needs of one";
    chart.find(Grade::Refused, found, advice);
    Some(())
}

fn signature(session: &Session, codes: &Codes, way: Signing, chart: &mut Chart) -> bool {
    let why = match signs(session, codes, way) {
        Ok(true) => {
            chart.fine("what it signs verifies in software, and nothing else does");
            return true;
        }
        Ok(false) => "what it signs does not verify".to_owned(),
        Err(fault) => said(fault),
    };
    let advice = "a journal key is made that signs in another way";
    chart.find(Grade::Note, why, advice);
    false
}

fn signs(session: &Session, codes: &Codes, way: Signing) -> Result<bool, Fault> {
    let trial = pair::trial_signing(session, codes, way)?;
    let key = signing::public_key(session, way, trial.pair.public);
    let digest = digest::digest(&digest::SHA256, PROBE);
    let signature = signing::sign(session, way, trial.pair.private, digest.as_ref());
    trial.discard(session);
    let (key, signature) = (key?, Signature::from_bytes(signature?));
    Ok(signature.is_some_and(|signature| {
        key.signed(PROBE, &signature) && !key.signed(b"another", &signature)
    }))
}

fn said(fault: Fault) -> String {
    strategy::Amiss::from(fault).what
}
