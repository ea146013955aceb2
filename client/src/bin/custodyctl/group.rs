//! `custodyctl group`.

mod cache;
mod exposure;
mod hold;
mod key;
mod view;
mod wait;

pub(crate) use wait::Unsettled;

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};
use client::v1;
use custody::{group::Keeping, holder::Writes, name::GroupName};

use crate::{
    about::{About, Said},
    args::Global,
    compliance::{self, Deed},
    failure::Failure,
    filter::{self, Limit, OfGroups, OfNames},
    output,
    when::{Grace, Stretch},
};
use view::{Group, Groups};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a group, and its master key in the HSM.
    Create {
        /// Letters, digits, '.', '_' and '-'; at most 100.
        name: GroupName,
        /// The part of the organisation that its secrets belong to.
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        business_group: String,
        /// Such as production or test.
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        environment: String,
        #[command(flatten)]
        about: About,
        /// A token that is to hold it, by label or serial number; all that the configuration has
        /// unless it is said. Can be given several times.
        #[arg(long = "token", value_name = "TOKEN")]
        tokens: Vec<String>,
        /// Which of them a write needs.
        #[arg(long, value_name = "POLICY", default_value = "require-all", value_parser = hold::writes())]
        writes: Writes,
        /// Where its master keys are kept.
        #[arg(long, value_name = "WHERE", default_value = "in-token", value_parser = hold::keeping())]
        keep_key: Keeping,
    },
    /// Have other HSM tokens hold a group, or have writes need more or fewer of them.
    ///
    /// Each token has master keys of its own, and each version a data key wrapped for each. A token
    /// that comes gets what it lacks in the background, at a share of the HSM's time that the
    /// configuration sets (limits.rewrap-share); what one that goes has is taken away once the
    /// others have it. Services notice nothing. 'custodyctl group show' tells how far it is.
    #[command(group(ArgGroup::new("held").required(true).multiple(true).args(["tokens", "writes"])))]
    Hold {
        /// The group.
        name: GroupName,
        /// A token that holds it from now on, by label or serial number. Can be given several
        /// times; those that are not given hold it no more.
        #[arg(long = "token", value_name = "TOKEN")]
        tokens: Vec<String>,
        /// Which of them a write needs, from now on: all, more than half, or one. Those that have
        /// not what was written get it in the background.
        #[arg(long, value_name = "POLICY", value_parser = hold::writes())]
        writes: Option<Writes>,
        /// Wait until no token lacks anything. Ends with exit code 11 if what is left waits for a
        /// token that cannot be used.
        #[arg(long)]
        wait: bool,
    },
    /// List groups.
    List {
        #[command(flatten)]
        names: OfNames,
        #[command(flatten)]
        groups: OfGroups,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a group and the generations of its master key.
    Show {
        /// The group.
        name: GroupName,
    },
    /// Say what else a group is for; what is not given stays as it is.
    #[command(group(ArgGroup::new("change").required(true).multiple(true).args(
        ["business_group", "environment", "description", "labels", "removed"],
    )))]
    Update {
        /// The group.
        name: GroupName,
        /// The part of the organisation that its secrets belong to, from now on.
        #[arg(long, value_name = "TEXT")]
        business_group: Option<String>,
        /// Such as production or test, from now on.
        #[arg(long, value_name = "TEXT")]
        environment: Option<String>,
        #[command(flatten)]
        said: Said,
    },
    /// Make the next generation of a group's master key, which protects from now on.
    ///
    /// The former ones only reveal. What is left under them is moved to the new one in the
    /// background, at a share of the HSM's time that the configuration sets
    /// (limits.rewrap-share); 'custodyctl group show' tells how many versions that is. Services
    /// notice nothing. A former key that is empty can be destroyed.
    Rotate {
        /// The group.
        name: GroupName,
        /// Rotate only if this generation is the newest.
        #[arg(long, value_name = "GENERATION")]
        expect: Option<u32>,
        /// Someone may have the former keys: say so in the journal, have the content that they
        /// protected sealed under fresh data keys, and list it with who used it.
        #[arg(long)]
        compromised: bool,
        /// Where the group's master keys are kept from this one on; as before unless it is said.
        #[arg(long, value_name = "WHERE", value_parser = hold::keeping())]
        keep_key: Option<Keeping>,
        /// Wait until everything is moved, or renewed. Ends with exit code 11 if what is left waits
        /// for a token that cannot be used.
        #[arg(long)]
        wait: bool,
    },
    /// Say that someone may have a master key, also long after it was replaced or destroyed.
    ///
    /// What it may have given away is renewed in the background, at the same share of the HSM's
    /// time as a move: content is sealed under fresh data keys, and takes the place of what was
    /// stored. If the key is the one that protects, another takes its place first, as with
    /// 'custodyctl group rotate --compromised'. Lists what it protected, and who used that.
    CompromiseKey {
        /// The group.
        name: GroupName,
        /// The key's generation, as 'custodyctl group show' tells it.
        generation: u32,
        /// Wait until everything is renewed. Ends with exit code 11 if what is left waits for a token
        /// that cannot be used.
        #[arg(long)]
        wait: bool,
    },
    /// List what may be known since a master key was called compromised, and who is to be told.
    ///
    /// A fresh data key does not make content unknown: a secret is listed until a version takes its
    /// place that was written later, and after that for its older versions.
    Exposure {
        /// The group.
        name: GroupName,
    },
    /// Destroy a former master key in the HSM, for good, after some time.
    ///
    /// Only a key that is empty can be destroyed.
    DestroyKey {
        /// The group.
        name: GroupName,
        /// The key's generation, as 'custodyctl group show' tells it.
        generation: u32,
        /// How long it can be spared, such as 90d; 30 days unless it is said.
        #[arg(long, value_name = "SPAN", conflicts_with = "now")]
        grace: Option<Stretch>,
        /// Destroy it now.
        #[arg(long)]
        now: bool,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
    /// Take back that a master key is to be destroyed.
    SpareKey {
        /// The group.
        name: GroupName,
        /// The key's generation.
        generation: u32,
    },
    /// Have the data keys of a group kept for a while, so that the HSM is not asked for every
    /// delivery; or not, which is how a group begins.
    ///
    /// A kept key is used for the same version alone, and each delivery that uses one says so in
    /// the journal. All keys of a group are forgotten when anything about the group changes. Set for
    /// a group, this weighs against what the HSM is for: it no longer sees each delivery, and
    /// custodyd's memory holds the keys meanwhile.
    Cache {
        /// The group.
        name: GroupName,
        #[command(flatten)]
        terms: cache::Terms,
    },
    /// Show what the secrets of a group have to comply with, or set it.
    ///
    /// The file is TOML; what is shown is one. All rules are optional: mode ("report" or
    /// "enforce"), min-rsa-bits, min-ec-bits, min-symmetric-bits, key-algorithms,
    /// signature-algorithms, symmetric-algorithms, min-tls-version, max-validity-days,
    /// warn-before-days, max-age-days, required-labels. Lists what falls foul of what is set, and then ends
    /// with exit code 10.
    Rules {
        /// The group.
        name: GroupName,
        /// The rules that take the place of those there are.
        file: Option<PathBuf>,
        /// Only list what would fall foul of them.
        #[arg(long, requires = "file")]
        dry_run: bool,
        /// Have no rules.
        #[arg(long, conflicts_with = "file")]
        clear: bool,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let manager = global.manager().await?;
    match command {
        Command::Rules {
            name,
            file,
            dry_run,
            clear,
        } => {
            let deed = Deed::new(file, dry_run, clear);
            compliance::rules(global, &manager, name, deed).await
        }
        Command::Rotate {
            name,
            expect,
            compromised,
            keep_key,
            wait,
        } => {
            let request = v1::RotateGroupRequest {
                group: name.into(),
                expected: expect,
                compromised,
                keeping: keep_key.map(|keeping| keeping.name().to_owned()),
            };
            key::rotate(global, &manager, request, wait).await
        }
        Command::CompromiseKey {
            name,
            generation,
            wait,
        } => key::compromise(global, &manager, name, generation, wait).await,
        Command::Exposure { name } => exposure::run(global, &manager, name).await,
        Command::Hold {
            name,
            tokens,
            writes,
            wait,
        } => {
            let request = v1::HoldGroupRequest {
                group: name.into(),
                tokens,
                writes: writes.map(|writes| writes.name().to_owned()),
            };
            hold::hold(global, &manager, request, wait).await
        }
        Command::DestroyKey {
            name,
            generation,
            grace,
            now,
            yes,
        } => {
            let grace = Grace::new(grace, now);
            key::destroy(global, &manager, name, generation, grace, yes).await
        }
        Command::Cache { name, terms } => {
            let request = v1::SetCacheRequest {
                group: name.into(),
                cache: terms.cache()?,
            };
            let group = manager.set_cache(request).await;
            output::show(
                global.output,
                &Group::from(group.map_err(Failure::Manager)?),
            )
        }
        Command::SpareKey { name, generation } => {
            key::spare(global, &manager, name, generation).await
        }
        Command::Create {
            name,
            business_group,
            environment,
            about,
            tokens,
            writes,
            keep_key,
        } => {
            let request = v1::CreateGroupRequest {
                tokens,
                keeping: Some(keep_key.name().to_owned()),
                writes: Some(writes.name().to_owned()),
                name: name.into(),
                business_group,
                environment,
                labels: about.labels(),
                description: about.description,
            };
            let group = manager.create_group(request).await;
            output::show(
                global.output,
                &Group::from(group.map_err(Failure::Manager)?),
            )
        }
        Command::Update {
            name,
            business_group,
            environment,
            said,
        } => {
            let request = v1::UpdateGroupRequest {
                name: name.into(),
                business_group,
                environment,
                labels: said.labels(),
                remove_labels: said.removed(),
                description: said.description,
            };
            let group = manager.update_group(request).await;
            output::show(
                global.output,
                &Group::from(group.map_err(Failure::Manager)?),
            )
        }
        Command::List {
            names,
            groups,
            limit,
        } => {
            let request = filter::groups(names, groups);
            let is_filtered = request != v1::ListGroupsRequest::default();
            let listed = manager.groups(request, limit.most()).await;
            let listed = listed.map_err(Failure::Manager)?;
            let groups = Groups {
                groups: listed.items.into_iter().map(Into::into).collect(),
                more: listed.more,
                is_filtered,
            };
            output::show(global.output, &groups)
        }
        Command::Show { name } => {
            let request = v1::GetGroupRequest { name: name.into() };
            let group = manager.get_group(request).await.map_err(Failure::Manager)?;
            output::show(global.output, &Group::from(group))
        }
    }
}
