//! `custodyctl group hold`, and where master keys are.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use client::{Manager, v1};
use custody::{group::Keeping, holder::Writes};

use super::{view::Group, wait::settled};
use crate::{args::Global, failure::Failure, output};

/// What a write may need of a group's tokens.
pub(super) fn writes() -> impl TypedValueParser<Value = Writes> {
    let known = Writes::ALL.map(|writes| {
        PossibleValue::new(writes.name()).help(match writes {
            Writes::RequireAll => "All of them: what was written outlives all tokens but one",
            Writes::Majority => "More than half of them",
            Writes::AnyThenRepair => "One of them, which alone has what was written until then",
        })
    });
    let known = PossibleValuesParser::new(known);
    known.try_map(|name| Writes::from_name(&name).ok_or("there is no such policy"))
}

/// Where master keys may be kept.
pub(super) fn keeping() -> impl TypedValueParser<Value = Keeping> {
    let known = Keeping::ALL.map(|keeping| {
        PossibleValue::new(keeping.name()).help(match keeping {
            Keeping::InToken => "In the HSM, each an object of it that never leaves",
            Keeping::Wrapped => {
                "In the database, under a root key in the HSM, which alone can use them: for an HSM \
                 that holds few objects"
            }
        })
    });
    let known = PossibleValuesParser::new(known);
    known.try_map(|name| Keeping::from_name(&name).ok_or("there is no such place"))
}

pub(super) async fn hold(
    global: &Global,
    manager: &Manager,
    request: v1::HoldGroupRequest,
    wait: bool,
) -> Result<(), Failure> {
    let held = manager.hold_group(request).await;
    let group = held.map_err(Failure::Manager)?;
    let (group, left) = settled(manager, group, wait).await?;
    output::show(global.output, &Group::from(group))?;
    Ok(left?)
}
