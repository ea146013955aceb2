//! `custodyctl grant`: which callers get which secrets.

use clap::{Args, Subcommand};
use client::v1;
use custody::name::GroupName;
use nix::unistd::User;
use serde::Serialize;

use crate::{
    args::Global,
    confirm::confirm,
    failure::Failure,
    output::{self, View, columns, or_dash, properties, time},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let callers fetch secrets of a group.
    ///
    /// A caller must satisfy everything that is given here; it must be told by its uid
    /// or its unit at least. 'custodyctl whoami', run as the caller, shows what it is.
    Add {
        /// The group.
        group: GroupName,
        /// A secret's name, or a beginning of one followed by '*'.
        pattern: String,
        #[command(flatten)]
        callers: Callers,
    },
    /// List the grants of a group, or of all.
    List {
        /// The group.
        group: Option<GroupName>,
    },
    /// Take a grant back; what was fetched under it is not called back.
    Revoke {
        /// The grant, as 'grant list' shows it.
        id: String,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Callers {
    /// The caller runs as this user id.
    #[arg(long, value_name = "N", conflicts_with = "user")]
    uid: Option<u32>,
    /// The caller runs as this user of this machine.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The caller runs with this group id.
    #[arg(long, value_name = "N")]
    gid: Option<u32>,
    /// The caller is in this systemd unit.
    #[arg(long, value_name = "X.service")]
    unit: Option<String>,
    /// The caller executes this file.
    #[arg(long, value_name = "PATH")]
    exe: Option<String>,
    /// The caller satisfies this selector, such as unix:uid:33.
    #[arg(long = "selector", value_name = "S")]
    selectors: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no user of this machine is called {0:?}; --uid takes a number")]
    NoUser(String),
    #[error("cannot look up the user {0:?}")]
    Lookup(String, #[source] nix::Error),
}

impl Callers {
    fn selectors(self) -> Result<Vec<String>, Error> {
        let uid = match self.user {
            Some(name) => Some(uid_of(name)?),
            None => self.uid,
        };
        let named = [
            uid.map(|uid| format!("unix:uid:{uid}")),
            self.gid.map(|gid| format!("unix:gid:{gid}")),
            self.unit.map(|unit| format!("systemd:id:{unit}")),
            self.exe.map(|path| format!("unix:path:{path}")),
        ];
        Ok(named.into_iter().flatten().chain(self.selectors).collect())
    }
}

fn uid_of(name: String) -> Result<u32, Error> {
    match User::from_name(&name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(Error::NoUser(name)),
        Err(error) => Err(Error::Lookup(name, error)),
    }
}

#[derive(Debug, Serialize)]
struct Grant {
    id: String,
    group: String,
    pattern: String,
    selectors: Vec<String>,
    created: Option<String>,
    created_by: u32,
}

#[derive(Debug, Serialize)]
struct Grants {
    grants: Vec<Grant>,
}

#[derive(Debug, Serialize)]
struct Revoked {
    id: String,
}

impl From<v1::Grant> for Grant {
    fn from(grant: v1::Grant) -> Self {
        Self {
            id: grant.id,
            group: grant.group,
            pattern: grant.pattern,
            selectors: grant.selectors,
            created: time(grant.created.as_ref()),
            created_by: grant.created_by,
        }
    }
}

impl View for Grant {
    fn text(&self) -> Option<String> {
        properties([
            ("grant", Some(self.id.clone())),
            ("secrets", Some(format!("{}/{}", self.group, self.pattern))),
            ("callers", Some(self.selectors.join("\n"))),
            ("added", self.created.clone()),
            ("added by", Some(format!("uid {}", self.created_by))),
        ])
    }
}

impl View for Grants {
    fn text(&self) -> Option<String> {
        columns(
            ["GRANT", "SECRETS", "CALLERS", "ADDED", "ADDED BY"],
            self.grants.iter().map(|grant| {
                [
                    grant.id.clone(),
                    format!("{}/{}", grant.group, grant.pattern),
                    grant.selectors.join("\n"),
                    or_dash(grant.created.as_deref()),
                    format!("uid {}", grant.created_by),
                ]
            }),
        )
    }

    fn nothing(&self) -> &'static str {
        "no grants: nobody can fetch; 'custodyctl grant add' adds one"
    }
}

impl View for Revoked {
    fn text(&self) -> Option<String> {
        Some(format!("revoked {}", self.id))
    }
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add {
            group,
            pattern,
            callers,
        } => {
            let request = v1::AddGrantRequest {
                group: group.into(),
                pattern,
                selectors: callers.selectors()?,
            };
            let grant = global.manager().await?.add_grant(request).await;
            output::show(
                global.output,
                &Grant::from(grant.map_err(Failure::Manager)?),
            )
        }
        Command::List { group } => {
            let request = v1::ListGrantsRequest {
                group: group.map(Into::into),
            };
            let answer = global.manager().await?.list_grants(request).await;
            let grants = answer.map_err(Failure::Manager)?.grants;
            let grants = grants.into_iter().map(Into::into).collect();
            output::show(global.output, &Grants { grants })
        }
        Command::Revoke { id, yes } => {
            if !yes {
                confirm(
                    &format!("revoke the grant {id}"),
                    "--yes revokes it without asking",
                )?;
            }
            let request = v1::RevokeGrantRequest { id: id.clone() };
            let answer = global.manager().await?.revoke_grant(request).await;
            answer.map_err(Failure::Manager)?;
            output::show(global.output, &Revoked { id })
        }
    }
}
