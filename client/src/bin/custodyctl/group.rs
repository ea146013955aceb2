//! `custodyctl group`.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{ArgGroup, Subcommand};
use client::v1;
use custody::name::GroupName;
use serde::Serialize;

use crate::{
    about::{About, Said, lines, said},
    args::Global,
    compliance::{self, Deed},
    failure::Failure,
    filter::{self, Limit, OfGroups, OfNames},
    output::{self, View, columns, or_dash, properties, time},
};

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

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    description: String,
    business_group: String,
    environment: String,
    labels: BTreeMap<String, String>,
    created: Option<String>,
    master_keys: Vec<MasterKey>,
    secrets: u64,
    grants: u64,
    rules: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct MasterKey {
    id: String,
    generation: u32,
    state: String,
    wrapping: String,
    token_label: String,
    token_serial: String,
    created: Option<String>,
    refused: Option<String>,
    canary: Option<String>,
    canary_problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Groups {
    groups: Vec<Group>,
    more: bool,
    #[serde(skip)]
    is_filtered: bool,
}

impl From<v1::Group> for Group {
    fn from(group: v1::Group) -> Self {
        Self {
            name: group.name,
            description: group.description,
            business_group: group.business_group,
            environment: group.environment,
            labels: group.labels,
            created: time(group.created.as_ref()),
            master_keys: group.master_keys.into_iter().map(Into::into).collect(),
            secrets: group.secrets,
            grants: group.grants,
            rules: group.rules.as_ref().map(compliance::document),
        }
    }
}

impl From<v1::MasterKey> for MasterKey {
    fn from(key: v1::MasterKey) -> Self {
        Self {
            id: key.id,
            generation: key.generation,
            state: key.state,
            wrapping: key.wrapping,
            token_label: key.token_label,
            token_serial: key.token_serial,
            created: time(key.created.as_ref()),
            refused: key.refused,
            canary: time(key.canary.as_ref()),
            canary_problem: key.canary_problem,
        }
    }
}

impl View for Group {
    fn text(&self) -> Option<String> {
        let facts = properties([
            ("name", Some(self.name.clone())),
            ("description", said(&self.description)),
            ("business group", said(&self.business_group)),
            ("environment", said(&self.environment)),
            ("labels", lines(&self.labels)),
            ("created", self.created.clone()),
            ("secrets", Some(self.secrets.to_string())),
            ("grants", Some(self.grants.to_string())),
            ("rules", self.rules.as_ref().and_then(compliance::lines)),
        ])?;
        let keys = columns(
            ["GENERATION", "STATE", "WRAPPING", "TOKEN", "MASTER KEY"],
            self.master_keys.iter().map(|key| {
                [
                    key.generation.to_string(),
                    match &key.refused {
                        Some(reason) => format!("refused: {reason}"),
                        None => key.state.clone(),
                    },
                    key.wrapping.clone(),
                    format!("{} ({})", key.token_label, key.token_serial),
                    key.id.clone(),
                ]
            }),
        );
        Some(match keys {
            Some(keys) => format!("{facts}\n\n{keys}"),
            None => facts,
        })
    }
}

impl View for Groups {
    fn text(&self) -> Option<String> {
        columns(
            [
                "GROUP",
                "BUSINESS GROUP",
                "ENVIRONMENT",
                "SECRETS",
                "GRANTS",
                "CREATED",
                "LABELS",
                "DESCRIPTION",
            ],
            self.groups.iter().map(|group| {
                [
                    group.name.clone(),
                    or_dash(Some(&group.business_group)),
                    or_dash(Some(&group.environment)),
                    group.secrets.to_string(),
                    group.grants.to_string(),
                    or_dash(group.created.as_deref()),
                    or_dash(lines(&group.labels).as_deref()),
                    or_dash(Some(&group.description)),
                ]
            }),
        )
    }

    fn nothing(&self) -> &'static str {
        match self.is_filtered {
            true => "no such groups",
            false => "no groups yet; 'custodyctl group create NAME' makes one",
        }
    }

    fn is_cut(&self) -> bool {
        self.more
    }
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
        Command::Create {
            name,
            business_group,
            environment,
            about,
        } => {
            let request = v1::CreateGroupRequest {
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
