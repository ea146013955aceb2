//! Names of users and groups, looked up once and then forgotten: numbers decide.

use custody::selector::{Selector, written::Written};
use nix::unistd::{Group, Uid, User};

/// A name that stands for nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no user {0:?} on this machine; unix:uid takes a number")]
    NoUser(String),
    #[error("there is no group {0:?} on this machine; unix:gid takes a number")]
    NoGroup(String),
    #[error("the name {name:?} could not be looked up")]
    Lookup { name: String, source: nix::Error },
}

/// The selector that `written` stands for now. May wait for a directory service.
pub(crate) fn resolve(written: Written) -> Result<Selector, Error> {
    match written {
        Written::Selector(selector) => Ok(selector),
        Written::User(name) => match User::from_name(&name) {
            Ok(Some(user)) => Ok(Selector::Uid(user.uid.as_raw())),
            Ok(None) => Err(Error::NoUser(name)),
            Err(source) => Err(Error::Lookup { name, source }),
        },
        Written::Group(name) => gid(name).map(Selector::Gid),
        Written::SupplementaryGroup(name) => gid(name).map(Selector::SupplementaryGid),
    }
}

fn gid(name: String) -> Result<u32, Error> {
    match Group::from_name(&name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(Error::NoGroup(name)),
        Err(source) => Err(Error::Lookup { name, source }),
    }
}

/// What the user with this id is called now, if anything. May wait, too.
pub(crate) fn of_user(uid: u32) -> Option<String> {
    Some(User::from_uid(Uid::from_raw(uid)).ok()??.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers_and_unknown_ones_are_refused() {
        let resolve = |text: &str| resolve(text.parse().unwrap());
        assert_eq!(resolve("unix:user:root").unwrap(), Selector::Uid(0));
        assert_eq!(resolve("unix:group:root").unwrap(), Selector::Gid(0));
        let supplementary = resolve("unix:supplementary_group:root").unwrap();
        assert_eq!(supplementary, Selector::SupplementaryGid(0));
        assert_eq!(resolve("unix:gid:7").unwrap(), Selector::Gid(7));
        assert_eq!(of_user(0).as_deref(), Some("root"));
        let nobody = resolve("unix:user:no-such-user").unwrap_err().to_string();
        assert!(nobody.contains("no-such-user"), "{nobody}");
        assert!(matches!(
            resolve("unix:group:no-such-group"),
            Err(Error::NoGroup(_))
        ));
    }
}
