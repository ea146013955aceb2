//! The rules of custodyd, told as the way of a request.
//!
//! A service's request for a secret is a sequence of types, each made only from the
//! one before, so that a skipped step does not compile:
//!
//! 1. [`caller::observation::Observation`]: what the kernel said about the process at the other
//!    end of a socket. [`caller::Evidence`] is an observation that holds together,
//!    [`caller::Caller`] the process it proves.
//! 2. [`state::State::decide`] turns a caller and a wish into a [`policy::Grant`], or
//!    a [`policy::Denial`].
//! 3. [`journal::record`] makes either durable, and of the grant a
//!    [`policy::Permit`].
//! 4. [`policy::Permit::claim`] joins the permit with the one ciphertext it is good
//!    for: a [`release::Claim`], the only thing for which the token unwraps a data key.
//! 5. [`release::Unlock::open`] gives [`release::Released`], which hands its
//!    [`envelope::Content`] over only against evidence that the caller is still the
//!    one that was attested.
//!
//! What the daemon uses itself, for an operator, goes the way of [`inward`], and leaves no
//! content; so does what a [`drill`] tries.
//!
//! Nothing here does I/O, knows the time or starts a thread.
#![forbid(unsafe_code)]

pub mod backup;
pub mod cache;
pub mod caller;
pub mod canonical;
pub mod change;
pub mod compliance;
pub mod drill;
pub mod envelope;
pub mod group;
pub mod holder;
pub mod invocation;
pub mod inward;
pub mod journal;
pub mod label;
pub mod lint;
pub mod name;
pub mod outlook;
pub mod policy;
pub mod random;
pub mod reference;
pub mod release;
pub mod renew;
pub mod rewrap;
pub mod role;
pub mod row;
pub mod search;
pub mod secret;
pub mod selector;
pub mod state;
pub mod store;
pub mod trustee;
pub mod usage;
