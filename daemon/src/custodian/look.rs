//! Looking at the machine for operators: at processes, units and files that they name.

use custody::{
    caller::Evidence, lint::surroundings::Surroundings, policy::rule::Selectors, selector::Selector,
};

use super::{Custodian, Error};
use crate::names;

impl Custodian {
    /// What is known of the process `pid`, whatever it takes to find out.
    pub(crate) async fn process(&self, pid: i32) -> Result<Evidence, Error> {
        Err(Error::NoProcess(pid))
    }

    /// The processes in a unit of the system.
    pub(crate) async fn members(&self, _unit: &str) -> Vec<Evidence> {
        Vec::new()
    }

    /// What the machine has of that which `selectors` name.
    pub(crate) async fn surroundings(&self, selectors: &Selectors) -> Surroundings {
        let uid = selectors
            .as_slice()
            .iter()
            .find_map(|selector| match selector {
                Selector::Uid(uid) => Some(*uid),
                _ => None,
            });
        // A directory service may take its time.
        let user = tokio::task::spawn_blocking(move || names::of_user(uid?)).await;
        Surroundings {
            user: user.ok().flatten(),
            ..Surroundings::default()
        }
    }
}
