//! The surface for operators: a method for each call of `custody.v1.Manager`.

use std::path::PathBuf;

use tonic::transport::Channel;

use crate::{
    Error, channel,
    retry::{once, repeat},
    v1::{self, manager_client::ManagerClient},
};

/// The largest answer taken: the list of a hundred thousand secrets fits.
const MAX_ANSWER: usize = 128 << 20;

/// A connection to the Manager surface. Cloning shares it; it mends itself.
#[derive(Clone, Debug)]
pub struct Manager(ManagerClient<Channel>);

impl Manager {
    /// Connects to the socket at `path`, usually [`MANAGER_SOCKET`](crate::MANAGER_SOCKET).
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] if nothing answers there.
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let channel = channel::connect(path.into()).await?;
        Ok(Self(
            ManagerClient::new(channel).max_decoding_message_size(MAX_ANSWER),
        ))
    }
}

macro_rules! calls {
    ($($way:ident $name:ident($request:ident) -> $answer:ident: $doc:literal;)*) => {
        impl Manager {$(
            #[doc = $doc]
            ///
            /// # Errors
            ///
            /// What custodyd answers, as an [`Error`].
            pub async fn $name(&self, request: v1::$request) -> Result<v1::$answer, Error> {
                calls!(@$way self.0, $name, request)
            }
        )*}
    };
    (@read $client:expr, $name:ident, $request:ident) => {
        repeat(|| {
            let (mut client, request) = ($client.clone(), $request.clone());
            async move { client.$name(request).await }
        })
        .await
    };
    (@write $client:expr, $name:ident, $request:ident) => {
        once($client.clone().$name($request)).await
    };
}

calls! {
    write create_group(CreateGroupRequest) -> Group:
        "Makes a group and its group master key in the token.";
    read list_groups(ListGroupsRequest) -> ListGroupsResponse:
        "All groups, by name.";
    read get_group(GetGroupRequest) -> Group:
        "One group with the generations of its master key.";
    write put_secret(PutSecretRequest) -> Version:
        "Writes a new version, which becomes the current one, of a secret that need not be there yet.";
    read list_secrets(ListSecretsRequest) -> ListSecretsResponse:
        "The secrets of a group, by name.";
    read get_secret(GetSecretRequest) -> Secret:
        "One secret and its current version.";
    read list_versions(ListVersionsRequest) -> ListVersionsResponse:
        "The versions of a secret, oldest first.";
    write delete_secret(DeleteSecretRequest) -> DeleteSecretResponse:
        "Destroys a secret with all its versions, for good.";
    write add_grant(AddGrantRequest) -> Grant:
        "Lets the callers that satisfy every selector have the secrets that match.";
    read list_grants(ListGrantsRequest) -> ListGrantsResponse:
        "The grants of one group, or of all.";
    write revoke_grant(RevokeGrantRequest) -> RevokeGrantResponse:
        "Takes a grant back; what was fetched under it is not called back.";
    read status(StatusRequest) -> StatusResponse:
        "The state of the daemon, its token and its journal.";
}
