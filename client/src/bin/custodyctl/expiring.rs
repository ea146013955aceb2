//! `custodyctl expiring`: what ends soon.

use client::v1;
use custody::name::GroupName;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    args::Global,
    failure::Failure,
    output::{self, View, columns, or_dash, time},
    when::Stretch,
};

#[derive(Debug, Serialize)]
struct Expirings {
    expiring: Vec<Expiring>,
    more: u64,
}

#[derive(Debug, Serialize)]
struct Expiring {
    group: String,
    name: String,
    r#type: String,
    version: u32,
    part: Option<String>,
    ends: Option<String>,
    property: Option<String>,
    ended: bool,
}

impl From<v1::Expiring> for Expiring {
    fn from(expiring: v1::Expiring) -> Self {
        Self {
            group: expiring.group,
            name: expiring.name,
            r#type: expiring.r#type,
            version: expiring.version,
            part: expiring.part,
            ends: time(expiring.ends.as_ref()),
            property: expiring.property,
            ended: expiring.ended,
        }
    }
}

impl Expiring {
    fn ends(&self) -> String {
        let ends = or_dash(self.ends.as_deref());
        match self.ended {
            true => format!("{ends} (over)"),
            false => ends,
        }
    }
}

impl View for Expirings {
    fn text(&self) -> Option<String> {
        let table = columns(
            ["ENDS", "SECRET", "VERSION", "TYPE", "BY ITS"],
            self.expiring.iter().map(|one| {
                let part = one.part.as_deref().map(|part| format!(" ({part})"));
                [
                    one.ends(),
                    format!("{}/{}", one.group, one.name),
                    format!("{}{}", one.version, part.unwrap_or_default()),
                    one.r#type.clone(),
                    one.property.clone().unwrap_or("valid-until".to_owned()),
                ]
            }),
        )?;
        Some(match self.more {
            0 => table,
            more => format!("{table}\n\nand {more} more"),
        })
    }

    fn nothing(&self) -> &'static str {
        "nothing ends within that time"
    }
}

pub(crate) async fn run(
    global: &Global,
    group: Option<GroupName>,
    within: Stretch,
) -> Result<(), Failure> {
    let request = v1::ListExpiringRequest {
        group: group.map(Into::into),
        within_seconds: within.seconds()?,
    };
    let answer = global.manager().await?.list_expiring(request).await;
    let answer = answer.map_err(Failure::Manager)?;
    let found = answer.expiring.len() as u64 + answer.more;
    let expirings = Expirings {
        expiring: answer.expiring.into_iter().map(Into::into).collect(),
        more: answer.more,
    };
    output::show(global.output, &expirings)?;
    match found {
        0 => Ok(()),
        found => {
            let last = within.after(Timestamp::now())?.strftime("%FT%TZ");
            Err(Failure::Found(format!("what ends by {last}: {found}")))
        }
    }
}
