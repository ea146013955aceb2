//! `custodyctl secret generate` and `rotate`: new material that custodyd makes.

use clap::Args;
use client::v1;
use custody::{name::SecretId, secret::make::Alphabet};
use serde::Serialize;

use super::{
    life::{Terms, seconds},
    view::Version,
};
use crate::{
    about::About,
    args::Global,
    consumers::Consumer,
    content::setting,
    failure::Failure,
    output::{self, View},
};

/// What is to be made.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// How many characters, or bytes of a symmetric key.
    #[arg(long, value_name = "N")]
    length: Option<u32>,
    /// What a password or API key consists of: alphanumeric unless it is said, url-safe,
    /// printable, hex or digits.
    #[arg(long, value_name = "ALPHABET")]
    alphabet: Option<Alphabet>,
    /// A field whose value is public metadata, such as a user name or an algorithm.
    #[arg(long, value_name = "FIELD=TEXT", value_parser = setting)]
    set: Vec<(String, String)>,
}

/// What was made, and who does not have it yet.
#[derive(Debug, Serialize)]
struct Made {
    group: String,
    name: String,
    version: Version,
    pending: bool,
    /// Who has an older version; `None` if the operator may not know.
    outdated: Option<Vec<Consumer>>,
}

/// Has the first version of a secret made.
pub(super) async fn generate(
    global: &Global,
    secret: SecretId,
    kind: String,
    about: About,
    order: Order,
) -> Result<(), Failure> {
    let request = v1::RotateSecretRequest {
        r#type: Some(kind),
        expected: Some(0),
        ..Default::default()
    };
    make(global, secret, about, order, request).await
}

/// Has a new version made.
pub(super) async fn rotate(
    global: &Global,
    secret: SecretId,
    about: About,
    order: Order,
    terms: Terms,
) -> Result<(), Failure> {
    let request = v1::RotateSecretRequest {
        expected: terms.expect,
        pending: terms.pending,
        overlap_seconds: seconds(terms.overlap)?,
        keep: terms.keep,
        ..Default::default()
    };
    make(global, secret, about, order, request).await
}

async fn make(
    global: &Global,
    secret: SecretId,
    about: About,
    order: Order,
    request: v1::RotateSecretRequest,
) -> Result<(), Failure> {
    let Order {
        length,
        alphabet,
        set,
    } = order;
    let set = set.into_iter();
    let request = v1::RotateSecretRequest {
        group: secret.group.to_string(),
        name: secret.name.to_string(),
        set: set
            .map(|(name, value)| v1::Property { name, value })
            .collect(),
        length,
        alphabet: alphabet.map(|alphabet| alphabet.name().to_owned()),
        labels: about.labels(),
        description: about.description,
        ..request
    };
    let pending = request.pending;
    let answer = global.manager().await?.rotate_secret(request).await;
    let version = answer.map_err(|call| Failure::of_change(call, &secret))?;
    show(global, secret, version, pending).await
}

/// Shows what was made, and who has an older version.
pub(super) async fn show(
    global: &Global,
    secret: SecretId,
    version: v1::Version,
    pending: bool,
) -> Result<(), Failure> {
    let (group, name) = (secret.group.to_string(), secret.name.to_string());
    let request = v1::ListConsumersRequest {
        group: group.clone(),
        name: Some(name.clone()),
    };
    // A writer need not be a reader. The version is made all the same.
    let answer = global.manager().await?.list_consumers(request).await.ok();
    let outdated = answer.map(|answer| {
        let outdated = answer.consumers.into_iter().filter(|one| one.outdated);
        outdated.map(Into::into).collect()
    });
    let made = Made {
        group,
        name,
        version: version.into(),
        pending,
        outdated,
    };
    output::show(global.output, &made)
}

impl View for Made {
    fn text(&self) -> Option<String> {
        let secret = format!("{}/{}", self.group, self.name);
        let outdated = match &self.outdated {
            None => format!("'custodyctl consumers {secret}' tells a reader"),
            Some(nobody) if nobody.is_empty() => "nobody that custodyd knows of".to_owned(),
            Some(them) => {
                let them: Vec<_> = them.iter().map(Consumer::who).collect();
                them.join(", ")
            }
        };
        let next = format!("'custodyctl secret activate {secret}' makes it current");
        let last = [
            ("pending", self.pending.then_some(next)),
            ("has an older one", Some(outdated)),
        ];
        self.version.with(&secret, last)
    }
}
