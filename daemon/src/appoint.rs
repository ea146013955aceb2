//! `custodyd appoint`, and the roles that `custodyd init` gives: on the machine, with the
//! token, and without asking who holds which role.

use std::{fmt, str::FromStr};

use custody::{
    name::RuleId,
    policy::rule::Selectors,
    role::{Assignment, Role},
    selector::written::Written,
};

use crate::{
    attest::Attestor,
    cli::say,
    config::Config,
    custodian::now,
    harden, log, names,
    run::{self, Failure, Opened},
};

/// Selectors separated by commas, as they are written on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Selected(Vec<Written>);

/// A role for whoever satisfies selectors.
#[derive(Clone, Debug)]
pub(crate) struct Appointment {
    role: Role,
    selected: Selected,
}

impl FromStr for Selected {
    type Err = custody::selector::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Selected {
    pub(crate) fn into_officer(self) -> Appointment {
        Appointment {
            role: Role::CryptoOfficer,
            selected: self,
        }
    }
}

impl FromStr for Appointment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, selectors) = text
            .split_once('=')
            .ok_or("a role, '=' and selectors are wanted, such as auditor=unix:user:bob")?;
        Ok(Self {
            role: role
                .parse()
                .map_err(|error: custody::role::NoSuchRole| error.to_string())?,
            selected: selectors
                .parse()
                .map_err(|error: custody::selector::Error| error.to_string())?,
        })
    }
}

impl Appointment {
    /// Every role there is to one user, as in a throw-away daemon.
    pub(crate) fn every_role(uid: u32) -> Vec<Self> {
        let written = Written::Selector(custody::selector::Selector::Uid(uid));
        let selected = Selected(vec![written]);
        let each = |role| Self {
            role,
            selected: selected.clone(),
        };
        Role::ALL.map(each).into()
    }
}

/// The assignments that `appointments` stand for, for the whole installation.
pub(crate) fn assignments(appointments: &[Appointment]) -> Result<Vec<Assignment>, Failure> {
    let assignment = |appointment: &Appointment| {
        let written = appointment.selected.0.iter().cloned();
        let selectors = written.map(names::resolve).collect::<Result<_, _>>()?;
        Ok(Assignment {
            id: RuleId::random().map_err(|_| Failure::Random)?,
            role: appointment.role,
            group: None,
            selectors: Selectors::new(selectors)?,
            created: now(),
            created_by: None,
        })
    };
    appointments.iter().map(assignment).collect()
}

/// Gives roles in an installation whose daemon does not run.
pub(crate) fn appoint(config: &Config, appointments: &[Appointment]) -> Result<(), Failure> {
    log::install(config.log_format, config.live.log_level);
    harden::process();
    let _lock = run::own(&config.state_directory)?;
    let roles = assignments(appointments)?;
    run::runtime()?.block_on(assign(config, roles))
}

async fn assign(config: &Config, roles: Vec<Assignment>) -> Result<(), Failure> {
    // Nobody asks, so nobody is looked at.
    let attestor = Attestor::start(config.attestation.attestor, None)?;
    let Opened {
        custodian,
        journal_closing,
    } = run::open(&config.with_one_worker(), attestor, run::Attempts::one()).await?;
    let mut outcome = Ok(());
    for held in roles {
        let said = format!("{} for {}", held.role, list(held.selectors.as_slice()));
        outcome = custodian.assign_role(None, held, Vec::new()).await;
        match &outcome {
            Ok(()) => say(&said),
            Err(_) => break,
        }
    }
    let signed = custodian.checkpoint().await;
    custodian.tokens().stop().await;
    drop(custodian);
    journal_closing.join_within(config.live.drain);
    outcome
        .and(signed)
        .map_err(|error| Failure::Custodian(Box::new(error)))
}

/// The items of a list, for people.
pub(crate) fn list<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(" and ")
}
