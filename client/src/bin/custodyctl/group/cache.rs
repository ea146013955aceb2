//! `custodyctl group cache`.

use std::str::FromStr;

use clap::Args;
use client::v1;

use crate::{
    failure::Failure,
    when::{self, Stretch, short},
};

/// How long data keys are kept.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Terms {
    /// How long a data key is used after the HSM unwrapped it, such as 5m; a day at most.
    #[arg(long = "for", value_name = "SPAN", requires = "uses")]
    span: Option<Stretch>,
    /// In how many deliveries it is used.
    #[arg(long, value_name = "NUMBER", requires = "span")]
    uses: Option<u32>,
    /// What becomes of it while the HSM does not serve: 'deny' has it not used, 'serve:SPAN' used
    /// for so long beyond its time; 7 days at most.
    #[arg(
        long,
        value_name = "deny|serve:SPAN",
        default_value = "deny",
        requires = "span"
    )]
    outage: Outage,
    /// Keep no data keys: the HSM is asked for every delivery.
    #[arg(long, conflicts_with_all = ["span", "uses", "outage"])]
    off: bool,
}

/// What becomes of kept data keys in an outage.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Deny,
    Serve(Stretch),
}

impl FromStr for Outage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "deny" => Ok(Self::Deny),
            Some(("serve", span)) => span
                .parse()
                .map(Self::Serve)
                .map_err(|error: when::Error| error.to_string()),
            _ => Err("write deny, or serve and a span, such as serve:1h".to_owned()),
        }
    }
}

impl Terms {
    /// As a request has them; `None` to keep no data keys.
    pub(super) fn cache(&self) -> Result<Option<v1::Cache>, Failure> {
        let (Some(span), Some(uses)) = (self.span, self.uses) else {
            return Ok(None);
        };
        // What is too long for a number is too long for custodyd.
        let seconds = |span: Stretch| {
            let seconds = span.seconds()?;
            Ok::<_, Failure>(u32::try_from(seconds).unwrap_or(u32::MAX))
        };
        Ok(Some(v1::Cache {
            seconds: seconds(span)?,
            uses,
            outage_seconds: match self.outage {
                Outage::Deny => 0,
                Outage::Serve(span) => seconds(span)?,
            },
        }))
    }
}

/// In words.
pub(super) fn said(cache: &v1::Cache) -> String {
    let (span, uses) = (short(cache.seconds), cache.uses);
    let outage = match cache.outage_seconds {
        0 => "not used while the HSM does not serve".to_owned(),
        more => format!("{} longer while the HSM does not serve", short(more)),
    };
    format!("data keys are kept for {span} or {uses} deliveries, {outage}")
}
