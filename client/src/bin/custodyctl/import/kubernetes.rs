//! What a Secret of Kubernetes is here.

use std::collections::BTreeSet;

use custody::secret::{Kind, fields::Fields};

use super::{
    manifest::{self, Object, Secret, What},
    plan::{Candidate, Left, Plan},
    walk::Source,
};

/// Takes the objects of a manifest; what is none of ours is left.
pub(super) fn take(at: usize, source: &Source, plan: &mut Plan) -> Vec<Candidate> {
    let objects = match manifest::read(&source.bytes) {
        Ok(objects) => objects,
        Err(error) => {
            plan.leave(
                at,
                Left::new(source, format!("is no manifest: {error}"), true),
            );
            return Vec::new();
        }
    };
    let mut candidates = Vec::new();
    for object in objects {
        let Object { line, name, what } = object;
        let left = |kind: &str, why: String, is_fault| Left {
            source: format!("{}:{line} {kind} {name}", source.shown)
                .trim()
                .to_owned(),
            why,
            is_fault,
        };
        let from = format!("{}:{line} Secret {name}", source.shown);
        match what {
            What::Other(kind) if kind.is_empty() => {
                let why = "is no object of Kubernetes".to_owned();
                plan.leave(at, left("", why, false));
            }
            What::Other(kind) => plan.leave(at, left(&kind, "is no Secret".to_owned(), false)),
            What::Broken(why) => plan.leave(at, left("Secret", why, true)),
            What::Secret(secret) => match parts(secret) {
                Ok(parts) => candidates.extend(parts.into_iter().map(|part| Candidate {
                    name: part.name,
                    kind: part.kind,
                    fields: part.fields,
                    from: from.clone(),
                    sources: BTreeSet::from([at]),
                })),
                Err(why) => plan.leave(at, left("Secret", why.to_owned(), false)),
            },
        }
    }
    candidates
}

struct Part {
    name: String,
    kind: &'static str,
    fields: Fields,
}

/// The secrets that one of Kubernetes becomes: some hold more than one of our types does.
fn parts(secret: Secret) -> Result<Vec<Part>, &'static str> {
    let Secret {
        name,
        kind,
        mut values,
    } = secret;
    let has = |values: &Fields, names: &[&str]| {
        values.len() == names.len() && names.iter().all(|name| values.get(name).is_some())
    };
    let mut parts = Vec::new();
    let mut add = |name: String, kind, fields| parts.push(Part { name, kind, fields });
    match kind.as_str() {
        "kubernetes.io/service-account-token" | "bootstrap.kubernetes.io/token" => {
            return Err("is a token that the cluster made for itself");
        }
        "helm.sh/release.v1" => return Err("is a record of Helm's, not a secret"),
        _ if values.is_empty() => return Err("holds nothing"),
        "kubernetes.io/tls"
            if has(&values, &["tls.crt", "tls.key"])
                || has(&values, &["ca.crt", "tls.crt", "tls.key"]) =>
        {
            // As cert-manager writes it; empty if the issuer is a public one.
            if let Some(authority) = values.remove("ca.crt").filter(|value| !value.is_empty()) {
                let mut fields = Fields::default();
                fields.push_wiped("certificates".to_owned(), authority);
                add(format!("{name}-ca"), "truststore", fields);
            }
            let renamed = [("tls.crt", "certificate-chain"), ("tls.key", "private-key")];
            add(name, "keystore", rename(values, &renamed));
        }
        "kubernetes.io/basic-auth" if has(&values, &["username", "password"]) => {
            add(name, "basic-auth", values);
        }
        "kubernetes.io/ssh-auth" if has(&values, &["ssh-privatekey"]) => {
            let key = values.get("ssh-privatekey").unwrap_or_default();
            let mut fields = Fields::default();
            fields.push("private-key".to_owned(), key.to_vec());
            let taken = Kind::from_name("private-key").and_then(|kind| kind.accept(fields));
            // OpenSSH has a form of its own, which is kept as it is.
            let (kind, field) = match taken {
                Ok(_) => ("private-key", "private-key"),
                Err(_) => ("blob", "content"),
            };
            add(name, kind, rename(values, &[("ssh-privatekey", field)]));
        }
        "kubernetes.io/dockerconfigjson" if has(&values, &[".dockerconfigjson"]) => {
            add(
                name,
                "blob",
                rename(values, &[(".dockerconfigjson", "content")]),
            );
        }
        "kubernetes.io/dockercfg" if has(&values, &[".dockercfg"]) => {
            add(name, "blob", rename(values, &[(".dockercfg", "content")]));
        }
        _ => add(name, "key-value", values),
    }
    Ok(parts)
}

fn rename(mut values: Fields, names: &[(&str, &str)]) -> Fields {
    let mut renamed = Fields::default();
    for (from, to) in names {
        if let Some(value) = values.remove(from) {
            renamed.push_wiped((*to).to_owned(), value);
        }
    }
    renamed
}
