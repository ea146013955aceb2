//! Where rows and contents are kept, and the contract every such place passes.

use crate::{
    envelope::SealedContent,
    name::VersionId,
    row::{System, Tag, Tagged},
    state::edit::Plan,
};

pub mod contract;

/// A place for one installation's rows and contents.
///
/// It is not trusted: whoever can write it can destroy, and what is read is verified.
pub trait Store {
    /// Why it cannot do what it should.
    type Error;

    /// The row that `custodyd init` wrote, if it did.
    fn system(&mut self) -> Result<Option<(System, Tag)>, Self::Error>;

    /// Writes that row into an empty store.
    fn create(&mut self, system: &System, tag: Tag) -> Result<(), Self::Error>;

    /// Hands every row to `each`, what others belong to before those.
    fn rows(&mut self, each: &mut dyn FnMut(Tagged)) -> Result<(), Self::Error>;

    /// Number of the newest change; 0 before the first.
    fn change(&mut self) -> Result<u64, Self::Error>;

    /// Writes what `plan` says. When it returns `Ok`, all of it is there and survives a
    /// power loss; when it fails, none of it is there, unless [`Store::change`] says so.
    fn apply(&mut self, plan: &Plan) -> Result<(), Self::Error>;

    /// The content of a version, if there is one.
    fn content(&mut self, id: &VersionId) -> Result<Option<SealedContent>, Self::Error>;
}
