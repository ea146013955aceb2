//! x
/// Where an entry of the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt(u64);
