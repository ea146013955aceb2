//! gRPC calls by the name of the method, in bytes: what is really on the wire.

use std::{collections::BTreeMap, path::PathBuf, sync::Mutex, time::Duration};

use hyper_util::rt::TokioIo;
use prost::{
    Message as _,
    bytes::{Buf as _, BufMut as _},
};
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use tokio::net::UnixStream;
use tonic::{
    Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};
use tower::service_fn;

/// How long an answer may take, or the news that there is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// A channel over a connection that exists; it is not made again.
pub async fn over(stream: UnixStream) -> Result<Channel, tonic::transport::Error> {
    let stream = Mutex::new(Some(stream));
    let connector = service_fn(move |_| {
        let stream = stream.lock().ok().and_then(|mut stream| stream.take());
        async move {
            let gone = || std::io::Error::other("the connection is used up");
            stream.map(TokioIo::new).ok_or_else(gone)
        }
    });
    Endpoint::from_static("http://custodyd")
        .timeout(PATIENCE)
        .connect_with_connector(connector)
        .await
}

/// A channel to the socket at `path`.
pub async fn connect(path: PathBuf) -> Channel {
    let stream = UnixStream::connect(path).await.expect("somebody listens");
    over(stream).await.expect("it speaks HTTP/2")
}

/// Calls a unary method such as "/custody.v1.Manager/Status".
pub async fn call(
    channel: &Channel,
    method: &str,
    request: Vec<u8>,
) -> Result<Response<Vec<u8>>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unknown(error.to_string()))?;
    let path = method.parse().expect("a path");
    grpc.unary(Request::new(request), path, Bytes).await
}

/// Calls any method, and gives every message of the answer: of a unary method there is one.
pub async fn call_all(
    channel: &Channel,
    method: &str,
    request: Vec<u8>,
) -> Result<Response<Vec<Vec<u8>>>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unknown(error.to_string()))?;
    let path = method.parse().expect("a path");
    let answer = grpc.server_streaming(Request::new(request), path, Bytes);
    let (metadata, mut stream, extensions) = answer.await?.into_parts();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(Response::from_parts(metadata, messages, extensions))
}

/// The methods of a service of `custody.v1`, by name.
pub fn methods(service: &str) -> BTreeMap<String, MethodDescriptorProto> {
    let files = descriptors().file;
    let mut services = files.into_iter().flat_map(|file| file.service);
    let found = services
        .find(|found| found.name() == service)
        .expect("the service is described");
    let named = |method: MethodDescriptorProto| (method.name().to_owned(), method);
    found.method.into_iter().map(named).collect()
}

/// What the journal calls a method of the Manager surface.
pub fn operation(method: &str) -> String {
    let mut kebab = String::new();
    for letter in method.chars() {
        if letter.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

/// What the interface is made of.
pub fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(proto::DESCRIPTORS).expect("descriptors")
}

#[derive(Clone, Copy)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}
