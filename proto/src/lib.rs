//! The wire: `custody.v1`, generated from the `.proto` files of this crate.
#![forbid(unsafe_code)]

use std::fmt;

use zeroize::Zeroize as _;

/// The messages and services of package `custody.v1`.
pub mod v1 {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        unreachable_pub,
        unused_qualifications,
        single_use_lifetimes,
        reason = "generated"
    )]
    tonic::include_proto!("custody.v1");
}

/// The compiled `.proto` files, as a serialised `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/custody.v1.bin"));

impl fmt::Debug for v1::Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::StorePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StorePassword(..)")
    }
}

impl Drop for v1::StorePassword {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl Drop for v1::Field {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::v1::{FetchRequest, Field, StorePassword};

    #[test]
    fn a_field_does_not_print_its_value() {
        let field = Field {
            name: "password".into(),
            value: b"hunter2".to_vec(),
        };
        let printed = format!("{field:?}");
        assert!(printed.contains("password"));
        assert!(!printed.contains("hunter2") && !printed.contains("104"));
    }

    #[test]
    fn a_request_does_not_print_the_password_of_its_key_store() {
        let request = FetchRequest {
            format: Some("pkcs12".into()),
            password: Some(StorePassword {
                value: "hunter2".into(),
            }),
            ..FetchRequest::default()
        };
        let printed = format!("{request:?}");
        assert!(printed.contains("pkcs12") && !printed.contains("hunter2"));
    }
}
