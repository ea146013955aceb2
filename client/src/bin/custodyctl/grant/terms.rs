//! What a grant gives, besides which secrets to whom: as flags, and as shown.

use std::num::NonZeroU64;

use clap::Args;
use client::v1;
use jiff::Timestamp;
use prost_types::Timestamp as Stamp;

use crate::{
    failure::Failure,
    output,
    when::{Rate, Stretch, When},
};

#[derive(Debug, Args)]
#[command(next_help_heading = "What they get")]
pub(super) struct Terms {
    /// Only secrets of this type, such as keystore.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only this field of the content, such as certificate-chain. May be given several
    /// times.
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// Not before this time, such as 2026-12-31 or 2026-12-31T18:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// Not from this time on.
    #[arg(long, value_name = "TIME", conflicts_with = "stretch")]
    until: Option<When>,
    /// For so long, such as 30d or 12h, from now or from --from on.
    #[arg(long = "for", id = "stretch", value_name = "SPAN")]
    stretch: Option<Stretch>,
    /// So many deliveries in all.
    #[arg(long, value_name = "N")]
    uses: Option<NonZeroU64>,
    /// So many deliveries in any span of this length, such as 10/1m.
    #[arg(long, value_name = "N/SPAN")]
    rate: Option<Rate>,
}

impl Terms {
    /// The message; `None` when nothing is limited. What was assumed of a time is said.
    pub(super) fn into_message(self) -> Result<Option<v1::Terms>, Failure> {
        for when in [&self.from, &self.until].into_iter().flatten() {
            if let Some(taken) = &when.taken {
                output::note(&output::plain(&format!("note: {taken}")));
            }
        }
        let from = self.from.map(|when| when.at);
        let until = match self.stretch {
            Some(stretch) => Some(stretch.after(from.unwrap_or_else(Timestamp::now))?),
            None => self.until.map(|when| when.at),
        };
        let terms = v1::Terms {
            r#type: self.kind,
            fields: self.fields,
            not_before: from.map(stamp),
            not_after: until.map(stamp),
            uses: self.uses.map(NonZeroU64::get),
            rate_uses: self.rate.map(|rate| rate.uses),
            rate_seconds: self.rate.map(|rate| rate.seconds),
        };
        Ok((terms != v1::Terms::default()).then_some(terms))
    }
}

fn stamp(at: Timestamp) -> Stamp {
    Stamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond(),
    }
}
