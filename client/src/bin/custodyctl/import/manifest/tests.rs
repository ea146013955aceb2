//! Manifests as kubectl prints them, and such as it would not.

use super::*;

/// The objects of a manifest: name, and the kind of a Secret with its values, or what else.
fn read(text: &str) -> Result<Vec<(String, String)>, Error> {
    let objects = super::read(text.as_bytes())?;
    let told = objects.into_iter().map(|object| {
        let what = match object.what {
            What::Secret(secret) => {
                let values = secret.values.iter().map(|(name, value)| {
                    let value = String::from_utf8_lossy(value);
                    format!(" {name}={value:?}")
                });
                secret.kind.clone() + &values.collect::<String>()
            }
            What::Other(kind) => format!("other {kind}"),
            What::Broken(why) => format!("broken: {why}"),
        };
        (object.name, what)
    });
    Ok(told.collect())
}

fn one(text: &str) -> String {
    let mut objects = read(text).unwrap();
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0).1
}

/// A Secret with that after its head.
fn secret(rest: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n{rest}")
}

#[test]
fn a_stream_has_secrets_in_documents_and_lists() {
    let text = "\
---
# a comment
apiVersion: v1
data:
  b: Yg==
  a: YQ==
kind: Secret
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {\"stringData\":{\"a\":\"canary\"}}
  name: one
  namespace: prod
type: Opaque
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: two}, stringData: {c: |- , d: ''}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: three}
---
{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {\"name\": \"four\"},
 \"type\": \"kubernetes.io/tls\", \"data\": {\"tls.key\": \"YQo=\"}}
";
    let text = text.replace("|- ", "\"x\\ny\"");
    let expected = [
        ("prod/one", "Opaque a=\"a\" b=\"b\""),
        ("two", "Opaque c=\"x\\ny\" d=\"\""),
        ("three", "other ConfigMap"),
        ("four", "kubernetes.io/tls tls.key=\"a\\n\""),
    ];
    let expected = expected.map(|(name, what)| (name.to_owned(), what.to_owned()));
    assert_eq!(read(&text).unwrap(), expected);
}

#[test]
fn plain_text_goes_before_base64_which_may_have_line_ends() {
    let text = secret("stringData: {a: new}\ndata:\n  a: b2xk\n  b: |\n    YWJj\n    ZGVm\n");
    assert_eq!(one(&text), "Opaque a=\"new\" b=\"abcdef\"");
}

#[test]
fn what_the_cluster_would_not_take_is_refused_by_name() {
    for (rest, why) in [
        ("data: {a: '!canary'}", "\"a\" of its data is not base64"),
        ("data: {a: 1234}", "\"a\" of its data is no text"),
        (
            "stringData: {a: 0x1F}",
            "\"a\" of its stringData is no text",
        ),
        ("stringData: {a: yes}", "\"a\" of its stringData is no text"),
        ("stringData: {a: -1_000.5e3}", "is no text"),
        ("stringData: {a: [canary]}", "is no text"),
        ("stringData: [canary]", "its stringData is no mapping"),
        ("data: {}\nsops: {mac: canary}", "it is encrypted by sops"),
    ] {
        let told = one(&secret(rest));
        assert!(told.starts_with("broken: ") && told.contains(why), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }
    let nameless = "apiVersion: v1\nkind: Secret\nmetadata: {generateName: a-}\n";
    assert_eq!(one(nameless), "broken: it has no name");
    assert_eq!(one("name: x\n"), "other ");
    assert_eq!(one("[a, b]"), "other ");
}

#[test]
fn texts_that_look_like_numbers_from_afar_are_texts() {
    for text in [
        "10.0.0.1", "1a", "v1", ".", "nan", "infinity", "0x", "e3", "1-2",
    ] {
        let told = one(&secret(&format!("stringData:\n  a: {text}\n")));
        assert_eq!(told, format!("Opaque a={text:?}"));
    }
}

#[test]
fn what_is_not_well_formed_is_told_by_line_and_not_quoted() {
    for (text, error) in [
        ("a: 1\nb: \"canary", Error::Broken(2)),
        ("a: &x canary\nb: *x\n", Error::Alias(2)),
        ("a: 1\nb: !!binary canary\n", Error::Tag(2)),
        ("? [canary]\n: 1\n", Error::Key(1)),
        ("a: 1\nb: 2\na: canary\n", Error::Twice(3)),
    ] {
        let refused = read(text).unwrap_err();
        assert_eq!(refused, error, "{text}");
        assert!(!refused.to_string().contains("canary"));
    }
    assert_eq!(super::read(b"a: \xff").unwrap_err(), Error::NotText);
}

#[test]
fn what_would_grow_without_end_is_refused() {
    // One that doubles with each line.
    let mut laughs = "a0: &a0 [lol]\n".to_owned();
    for number in 1..30 {
        let before = number - 1;
        laughs += &format!("a{number}: &a{number} [*a{before}, *a{before}]\n");
    }
    assert_eq!(read(&laughs).unwrap_err(), Error::Alias(2));
    let deep = "[".repeat(33) + &"]".repeat(33);
    assert_eq!(read(&deep).unwrap_err(), Error::Deep(1));
    assert_eq!(read(&"- ".repeat(100_000)).unwrap_err(), Error::Deep(1));
    assert!(read(&"[".repeat(100_000)).is_err());
    assert!(read(&"{a: ".repeat(100_000)).is_err());
    let many = "[".to_owned() + &"a,".repeat(1_000_001) + "]";
    assert_eq!(read(&many).unwrap_err(), Error::Large);
}
