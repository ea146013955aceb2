//! Callers that want the token without a pause.

use custody::name::InstanceId;
use hsm::{Client, Error};

use crate::gmk::protect;

/// Callers that open one wrap again and again until told otherwise; counts what they saw.
pub(crate) async fn under_load(
    client: &Client,
    meanwhile: impl AsyncFnOnce(),
) -> (usize, Vec<Error>) {
    let gmk = client.generate_gmk("system").await.unwrap().id;
    let instance = InstanceId::random().unwrap();
    let (dek, wrapped) = protect(client, &gmk, &instance).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, wrapped, stopped) = (client.clone(), wrapped.clone(), stopped.clone());
            let expected = *dek.expose();
            tokio::spawn(async move {
                let (mut good, mut bad) = (0, Vec::new());
                while !*stopped.borrow() {
                    match client.unwrap_row_key(&instance, &gmk, &wrapped).await {
                        Ok(dek) => {
                            assert_eq!(*dek.expose(), expected);
                            good += 1;
                        }
                        Err(error) => bad.push(error),
                    }
                }
                (good, bad)
            })
        })
        .collect();
    meanwhile().await;
    stop.send(true).unwrap();
    let (mut good, mut bad) = (0, Vec::new());
    for caller in callers {
        let (more, errors) = caller.await.unwrap();
        good += more;
        bad.extend(errors);
    }
    client
        .unwrap_row_key(&instance, &gmk, &wrapped)
        .await
        .unwrap();
    (good, bad)
}
