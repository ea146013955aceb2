//! The socket of monitoring: HTTP/1.1, and one thing to get.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
use tokio::{net::UnixListener, sync::Semaphore};

use super::Metrics;

/// How many may ask at a time.
const AT_ONCE: usize = 8;

/// How long a connection may last: one that asks has its answer long before.
const LIMIT: Duration = Duration::from_secs(10);

/// After an accept that failed for want of descriptors or memory, a short rest.
const REST: Duration = Duration::from_millis(50);

/// Answers whoever comes, until it is dropped.
pub(crate) async fn serve(listener: UnixListener, metrics: Metrics) {
    let metrics = Arc::new(metrics);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(REST).await;
            continue;
        };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let service = service_fn(|request| std::future::ready(answer(&metrics, &request)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever leaves early, or takes too long, has no answer.
            drop(tokio::time::timeout(LIMIT, connection).await);
            drop(place);
        });
    }
}

fn answer(
    metrics: &Metrics,
    request: &Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/metrics" {
        return Ok(plain(StatusCode::NOT_FOUND, "GET /metrics\n"));
    }
    if request.method() != Method::GET {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "GET /metrics\n"));
    }
    Ok(match metrics.text() {
        Ok(text) => plain(StatusCode::OK, text),
        Err(_) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "they cannot be written\n",
        ),
    })
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
