//! Talks to custodyd over its Unix sockets: [`Provider`] for services, [`Manager`] for operators.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! let provider = client::Provider::connect(client::PROVIDER_SOCKET).await?;
//! let tls = provider.fetch_tls_context("web", "tls").await?;
//! if let (Some(chain), Some(key)) = (tls.certificate_chain(), tls.private_key()) {
//!     // hand them to the TLS library; they are wiped when `tls` is dropped
//! #   let _ = (chain, key);
//! }
//! # Ok(()) }
//! ```
//!
//! A caller shows no credential: custodyd asks the kernel who is at the other end of
//! the socket. A read that finds custodyd unavailable, or comes too
//! soon after many others, is repeated once, after the
//! delay that custodyd names; a write never is, but for [`Manager::put_secret_over`].
#![forbid(unsafe_code)]

mod channel;
mod detail;
mod error;
mod manager;
mod provider;
mod retry;
mod tls;

pub use error::Error;
pub use manager::{Backup, JournalLines, Listed, Manager};
pub use proto::v1;
pub use provider::{Fetched, Part, Provider, Watch};
pub use tls::TlsContext;

/// Where custodyd answers services, unless it is configured otherwise.
pub const PROVIDER_SOCKET: &str = "/run/custodyd/provider.sock";

/// Where custodyd answers operators, unless it is configured otherwise.
pub const MANAGER_SOCKET: &str = "/run/custodyd/manager.sock";
