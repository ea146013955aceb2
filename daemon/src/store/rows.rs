//! Rows of the tables, to and from the types of the rules.

pub(super) mod read;
pub(super) mod write;
