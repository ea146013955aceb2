//! `custodyctl hsm lost`: a token that is gone for good.

use client::v1;
use serde::Serialize;

use crate::{
    args::Global,
    confirm::confirm,
    failure::Failure,
    output::{self, View, properties},
};

/// What went with a token.
#[derive(Debug, Serialize)]
struct Loss {
    token: String,
    /// How many master keys it had.
    master_keys: u64,
    /// How many versions have a wrap less.
    wraps: u64,
    /// Versions that nobody can open any more, as `GROUP/NAME@VERSION`.
    lost: Vec<String>,
}

impl View for Loss {
    fn text(&self) -> Option<String> {
        let lost = match &self.lost[..] {
            [] => "nothing: every version has its data key in another token".to_owned(),
            lost => format!("write them anew: {}", lost.join(" ")),
        };
        properties([
            ("given up", Some(self.token.clone())),
            ("master keys", Some(self.master_keys.to_string())),
            ("data keys", Some(self.wraps.to_string())),
            ("lost", Some(lost)),
        ])
    }
}

pub(crate) async fn run(
    global: &Global,
    token: String,
    accept_loss: u64,
    yes: bool,
) -> Result<(), Failure> {
    if !yes {
        let question = format!("give the token {token} up for good");
        confirm(&question, "--yes gives it up without asking")?;
    }
    let manager = global.manager().await?;
    let request = v1::LoseTokenRequest { token, accept_loss };
    let answer = manager.lose_token(request).await;
    let v1::LoseTokenResponse {
        label,
        serial,
        master_keys,
        wraps,
        lost,
    } = answer.map_err(Failure::Manager)?;
    let loss = Loss {
        token: format!("{label} ({serial})"),
        master_keys,
        wraps,
        lost,
    };
    output::show(global.output, &loss)
}
