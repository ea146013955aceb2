//! The surface for services: fetch, watch, who am I.

use std::{fmt, mem, path::PathBuf};

use tonic::{Streaming, transport::Channel};
use zeroize::Zeroizing;

use crate::{
    Error, TlsContext, channel,
    retry::repeat,
    v1::{self, provider_client::ProviderClient},
};

/// The longest answer that is taken: 1 MiB of content, each byte of it written as six, as in
/// JSON the worst are; or five times that content, as PEM, which hardly grows.
const MAX_ANSWER: usize = (6 << 20) + (1 << 16);

/// A connection to the Provider surface. Cloning shares it; it mends itself.
#[derive(Clone, Debug)]
pub struct Provider(ProviderClient<Channel>);

impl Provider {
    /// Connects to the socket at `path`, usually [`PROVIDER_SOCKET`](crate::PROVIDER_SOCKET).
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] if nothing answers there.
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let channel = channel::connect(path.into()).await?;
        let client = ProviderClient::new(channel);
        Ok(Self(client.max_decoding_message_size(MAX_ANSWER)))
    }

    /// Fetches one version of a secret: the current one without a number. With it comes what
    /// it refers to, all of one moment. Each fetch is an entry in custodyd's journal for each
    /// secret that comes.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for all that is not granted to this process, there or not.
    pub async fn fetch(
        &self,
        group: &str,
        name: &str,
        version: Option<u32>,
    ) -> Result<Fetched, Error> {
        let request = v1::FetchRequest {
            group: group.to_owned(),
            name: name.to_owned(),
            version,
            ..v1::FetchRequest::default()
        };
        self.fetch_with(request).await
    }

    /// As [`fetch`](Self::fetch), of the current version, written in a format: "pem",
    /// "pem-bundle", "der", "pkcs12", "java-truststore", "json", "raw" or "dotenv". The
    /// documents are named like files; a key store comes with a document "password".
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] as in [`fetch`](Self::fetch); [`Error::Precondition`] if the format
    /// cannot hold what is granted.
    pub async fn fetch_as(&self, group: &str, name: &str, format: &str) -> Result<Fetched, Error> {
        let request = v1::FetchRequest {
            group: group.to_owned(),
            name: name.to_owned(),
            format: Some(format.to_owned()),
            ..v1::FetchRequest::default()
        };
        self.fetch_with(request).await
    }

    /// As [`fetch`](Self::fetch), with everything that a request can say: the version by its
    /// part, only some fields, a format with the password of its key store. What is not asked
    /// for does not leave custodyd.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for all that is not granted to this process, there or not.
    pub async fn fetch_with(&self, request: v1::FetchRequest) -> Result<Fetched, Error> {
        let response = repeat(|| {
            let (mut client, request) = (self.0.clone(), request.clone());
            async move { client.fetch(request).await }
        })
        .await?;
        Ok(Fetched::from(response))
    }

    /// Fetches the current version of a TLS context, with the key store and all else that it
    /// refers to.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] if not all of it is granted to this process; [`Error::Precondition`]
    /// if it is no TLS context.
    pub async fn fetch_tls_context(&self, group: &str, name: &str) -> Result<TlsContext, Error> {
        self.fetch(group, name, None).await?.try_into()
    }

    /// Watches a secret, and what it refers to; [`Watch::next`] gives its current version at
    /// once.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for all that is not granted to this process, there or not.
    pub async fn watch(&self, group: &str, name: &str) -> Result<Watch, Error> {
        self.watch_with(v1::WatchRequest {
            group: group.to_owned(),
            name: name.to_owned(),
            unresolved: false,
        })
        .await
    }

    /// As [`watch`](Self::watch), of the secret alone: a grant for it is enough.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for all that is not granted to this process, there or not.
    pub async fn watch_alone(&self, group: &str, name: &str) -> Result<Watch, Error> {
        self.watch_with(v1::WatchRequest {
            group: group.to_owned(),
            name: name.to_owned(),
            unresolved: true,
        })
        .await
    }

    async fn watch_with(&self, request: v1::WatchRequest) -> Result<Watch, Error> {
        let stream = repeat(|| {
            let (mut client, request) = (self.0.clone(), request.clone());
            async move { client.watch(request).await }
        })
        .await?;
        Ok(Watch(stream))
    }

    /// Asks what custodyd sees of this process: how to find out why a grant doesn't match.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if it cannot tell right now.
    pub async fn whoami(&self) -> Result<v1::WhoAmIResponse, Error> {
        repeat(|| {
            let mut client = self.0.clone();
            async move { client.who_am_i(v1::WhoAmIRequest {}).await }
        })
        .await
    }
}

/// One released version of a secret. Its content is wiped when it is dropped, and is
/// not in its `Debug`.
pub struct Fetched {
    /// Number of the version.
    pub version: u32,
    /// Type of the secret, such as "keystore".
    pub kind: String,
    /// The content: names and bytes, in the type's order; or the documents it is written as,
    /// named like files.
    pub fields: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// The format that they are in; `None` if they are as they are stored.
    pub format: Option<String>,
    /// Number of the journal entry that records this release.
    pub receipt: u64,
    /// What it refers to, in the order of its type, and of the same moment.
    pub parts: Vec<Part>,
}

/// A secret that came with the one that refers to it.
#[derive(Debug)]
pub struct Part {
    /// The field that refers to it, such as "keystore".
    pub field: String,
    /// Name of its group.
    pub group: String,
    /// Its name in that group.
    pub name: String,
    /// What was released of it.
    pub secret: Fetched,
}

impl Fetched {
    /// The content of one field or document; `None` if there is none of that name.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, content)| content.as_slice())
    }

    /// What the field called `field` refers to; `None` if that did not come.
    pub fn part(&self, field: &str) -> Option<&Self> {
        let part = self.parts.iter().find(|part| part.field == field)?;
        Some(&part.secret)
    }
}

fn take(fields: Vec<v1::Field>) -> Vec<(String, Zeroizing<Vec<u8>>)> {
    let fields = fields.into_iter();
    fields
        .map(|mut field| {
            let name = mem::take(&mut field.name);
            (name, Zeroizing::new(mem::take(&mut field.value)))
        })
        .collect()
}

impl From<v1::Part> for Part {
    fn from(part: v1::Part) -> Self {
        Self {
            field: part.field,
            group: part.group,
            name: part.name,
            secret: Fetched {
                version: part.version,
                kind: part.r#type,
                fields: take(part.fields),
                format: part.format,
                receipt: part.receipt,
                parts: Vec::new(),
            },
        }
    }
}

impl From<v1::FetchResponse> for Fetched {
    fn from(response: v1::FetchResponse) -> Self {
        Self {
            version: response.version,
            kind: response.r#type,
            fields: take(response.fields),
            format: response.format,
            receipt: response.receipt,
            parts: response.parts.into_iter().map(Into::into).collect(),
        }
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("version", &self.version)
            .field("kind", &self.kind)
            .field("receipt", &self.receipt)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

/// The versions of one secret, as they become current. A number comes once more when what
/// the secret refers to has changed.
#[derive(Debug)]
pub struct Watch(Streaming<v1::WatchResponse>);

impl Watch {
    /// Waits for the next version to fetch. After an error or `None` the watch is over;
    /// a new one gives the current version at once, so nothing is missed.
    pub async fn next(&mut self) -> Option<Result<u32, Error>> {
        match self.0.message().await {
            Ok(Some(response)) => Some(Ok(response.version)),
            Ok(None) => None,
            Err(status) => Some(Err(status.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_does_not_print_its_content() {
        let fetched = Fetched::from(v1::FetchResponse {
            version: 3,
            r#type: "password".into(),
            fields: vec![v1::Field {
                name: "password".into(),
                value: b"hunter2".to_vec(),
            }],
            receipt: 7,
            ..v1::FetchResponse::default()
        });
        assert_eq!(fetched.field("password"), Some(&b"hunter2"[..]));
        let printed = format!("{fetched:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("104"));
    }
}
