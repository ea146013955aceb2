//! Watching a context is watching what it refers to.

use client::{Error, Provider};
use softhsm_tests::{
    Site,
    load::{runtime, told},
};

use crate::{furnish, put_context, rotate, stage};

#[test]
fn a_rotated_key_store_is_told_to_who_watches_the_context() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    site.grant_on("*", &[]);
    runtime().block_on(async {
        let provider = site.provider().await;
        let mut watch = provider.watch("web", "ctx").await.unwrap();
        assert_eq!(told(&mut watch).await, 1);
        rotate(&site);
        let again = told(&mut watch).await;
        assert_eq!(again, 1, "the context is the same, and to be fetched again");
        let context = provider.fetch_tls_context("web", "ctx").await.unwrap();
        assert_eq!(context.fetched().part("keystore").unwrap().version, 2);
        // What it does not refer to is not told, nor what is not current: the next to be told
        // is its own next version.
        assert!(site.put("web/other", b"x").status.success());
        stage(&site);
        put_context(&site, &["min-version=TLSv1.2"]);
        assert_eq!(told(&mut watch).await, 2);
    });
}

#[test]
fn who_may_not_have_what_a_context_refers_to_is_not_told_of_it() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    site.grant_on("ctx", &[]);
    runtime().block_on(async {
        let denied = site.provider().await.watch("web", "ctx").await.unwrap_err();
        assert!(matches!(denied, Error::Denied), "{denied}");
    });
    let denial = site.entries("deny").pop().unwrap();
    assert_eq!(denial["operation"], "notify");
    assert_eq!(denial["via"], "web/ctx@1#keystore");
    // Alone, it is told of the context and of nothing else.
    let told = runtime().block_on(async {
        let path = site.path("run/provider.sock");
        let provider = Provider::connect(path).await.unwrap();
        let mut watch = provider.watch_alone("web", "ctx").await.unwrap();
        told(&mut watch).await
    });
    assert_eq!(told, 1);
}
