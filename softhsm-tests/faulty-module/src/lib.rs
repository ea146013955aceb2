//! A PKCS#11 module that passes calls on to another, and misbehaves on command. `README.md`
//! is its manual; [`Control`] is what it is told, [`Counts`] what it tells.
#![allow(
    unsafe_code,
    reason = "a PKCS#11 module is a C library, and so is the one it stands before"
)]
#![allow(non_snake_case, reason = "functions are spelt as in the standard")]

pub mod code;
pub mod control;
pub mod counts;
pub mod function;

mod chance;
mod keys;
mod module;
mod nonce;
mod pass;
mod session;
mod sign;
mod token;

pub use code::Code;
pub use control::{Act, Control, Delay, Fault, GcmNonce, PinFlag, Token};
pub use counts::Counts;
pub use function::Function;

/// Name of the environment variable with the control file's path.
pub const CONTROL: &str = "FAULTY_PKCS11";

/// File name of the module, below the folder that Cargo builds into.
pub const FILE_NAME: &str = "libfaulty_pkcs11.so";
