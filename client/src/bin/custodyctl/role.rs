//! `custodyctl role`: what operators may do.

use clap::{Args, Subcommand, builder::PossibleValue};
use client::v1;
use custody::name::GroupName;
use serde::Serialize;

use crate::{
    args::Global,
    callers::Callers,
    confirm::confirm,
    evidence::{self, Evidence, Selector},
    failure::Failure,
    finding,
    output::{self, View, columns, or_dash, properties, time},
};

const EXAMPLES: &str = "\
Examples:
  custodyctl role assign crypto-officer --user alice
  custodyctl role assign group-administrator --group web --user bob
  custodyctl role assign writer --group web --uid 990 --unit acme-renew.service
  custodyctl role assign auditor --user carol";

const UNDONE: &str = "the role was not assigned";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a role to the operators that satisfy everything that is given here.
    ///
    /// A crypto officer assigns every role; a group administrator assigns writers and
    /// readers of the group. Crypto officers and auditors have no group.
    #[command(
        after_help = EXAMPLES,
        override_usage = "custodyctl role assign [OPTIONS] <ROLE> <WHO>..."
    )]
    Assign(Box<Assign>),
    /// List the roles that are held.
    List,
    /// Take a role back; never the last crypto officer's.
    Revoke {
        /// The assignment, as 'role list' shows it.
        id: String,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
    /// Show what custodyd sees of you as an operator, and the roles that this gives.
    Whoami,
}

#[derive(Debug, Args)]
pub(crate) struct Assign {
    /// The role.
    #[arg(value_parser = roles())]
    role: String,
    /// The group; every group if it is missing.
    #[arg(long)]
    group: Option<GroupName>,
    /// Assign it although that is weak, such as to one who holds another role already.
    #[arg(long)]
    allow_weak: bool,
    #[command(flatten)]
    callers: Callers,
}

fn roles() -> [PossibleValue; 5] {
    [
        ("crypto-officer", "The token, groups, rotation, roles"),
        (
            "group-administrator",
            "A group's grants, deletion, its writers and readers",
        ),
        ("writer", "Stores secrets of a group, sees their metadata"),
        ("reader", "Sees the metadata and grants of a group"),
        (
            "auditor",
            "Reads the journal, sees grants and roles, takes backups",
        ),
    ]
    .map(|(role, does)| PossibleValue::new(role).help(does))
}

#[derive(Debug, Serialize)]
struct Role {
    id: String,
    role: String,
    group: Option<String>,
    selectors: Vec<String>,
    created: Option<String>,
    created_by: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Roles {
    roles: Vec<Role>,
}

#[derive(Debug, Serialize)]
struct Revoked {
    id: String,
}

/// What custodyd sees of the operator.
#[derive(Debug, Serialize)]
struct Operator {
    evidence: Option<Evidence>,
    selectors: Vec<Selector>,
    roles: Vec<Role>,
}

impl From<v1::Role> for Role {
    fn from(role: v1::Role) -> Self {
        Self {
            id: role.id,
            role: role.role,
            group: role.group,
            selectors: role.selectors,
            created: time(role.created.as_ref()),
            created_by: role.created_by,
        }
    }
}

impl Role {
    fn place(&self) -> String {
        match (&self.group, &*self.role) {
            (Some(group), _) => group.clone(),
            (None, "group-administrator" | "writer" | "reader") => "every group".to_owned(),
            (None, _) => "-".to_owned(),
        }
    }

    fn assigned_by(&self) -> String {
        match self.created_by {
            Some(uid) => format!("uid {uid}"),
            None => "custodyd, on this machine".to_owned(),
        }
    }
}

impl View for Role {
    fn text(&self) -> Option<String> {
        properties([
            ("assignment", Some(self.id.clone())),
            ("role", Some(self.role.clone())),
            ("group", Some(self.place())),
            ("operators", Some(self.selectors.join("\n"))),
            ("assigned", self.created.clone()),
            ("assigned by", Some(self.assigned_by())),
        ])
    }
}

impl View for Roles {
    fn text(&self) -> Option<String> {
        columns(
            [
                "ASSIGNMENT",
                "ROLE",
                "GROUP",
                "OPERATORS",
                "ASSIGNED",
                "ASSIGNED BY",
            ],
            self.roles.iter().map(|role| {
                [
                    role.id.clone(),
                    role.role.clone(),
                    role.place(),
                    role.selectors.join("\n"),
                    or_dash(role.created.as_deref()),
                    role.assigned_by(),
                ]
            }),
        )
    }

    fn nothing(&self) -> &'static str {
        "no roles that you may see"
    }
}

impl View for Revoked {
    fn text(&self) -> Option<String> {
        Some(format!("revoked {}", self.id))
    }
}

impl View for Operator {
    fn text(&self) -> Option<String> {
        let facts = properties(self.evidence.iter().flat_map(Evidence::facts));
        let roles = columns(
            ["ROLE", "GROUP", "ASSIGNMENT"],
            self.roles
                .iter()
                .map(|role| [role.role.clone(), role.place(), role.id.clone()]),
        );
        let roles = roles.unwrap_or_else(|| {
            "No role is yours; a crypto officer assigns roles with 'custodyctl role assign'."
                .to_owned()
        });
        let parts: Vec<_> = [facts, evidence::table(&self.selectors), Some(roles)]
            .into_iter()
            .flatten()
            .collect();
        Some(parts.join("\n\n"))
    }
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let manager = global.manager();
    match command {
        Command::Assign(assign) => {
            let Assign {
                role,
                group,
                allow_weak,
                callers,
            } = *assign;
            let request = v1::AssignRoleRequest {
                role,
                group: group.map(Into::into),
                selectors: callers.selectors(),
                allow_weak,
            };
            let answer = manager.await?.assign_role(request).await;
            let role = answer.map_err(|call| finding::explain(UNDONE, call))?;
            output::show(global.output, &Role::from(role))
        }
        Command::List => {
            let answer = manager.await?.list_roles(v1::ListRolesRequest {}).await;
            let roles = answer.map_err(Failure::Manager)?.roles;
            let roles = roles.into_iter().map(Into::into).collect();
            output::show(global.output, &Roles { roles })
        }
        Command::Revoke { id, yes } => {
            if !yes {
                confirm(
                    &format!("take back the role {id}"),
                    "--yes takes it back without asking",
                )?;
            }
            let request = v1::RevokeRoleRequest { id: id.clone() };
            let answer = manager.await?.revoke_role(request).await;
            answer.map_err(Failure::Manager)?;
            output::show(global.output, &Revoked { id })
        }
        Command::Whoami => {
            let answer = manager.await?.whoami().await.map_err(Failure::Manager)?;
            let operator = Operator {
                evidence: answer.evidence.map(Into::into),
                selectors: answer.selectors.into_iter().map(Into::into).collect(),
                roles: answer.roles.into_iter().map(Into::into).collect(),
            };
            output::show(global.output, &operator)
        }
    }
}
