//! What is a grant, and what makes none.

use super::*;

#[test]
fn a_pattern_is_a_name_or_a_beginning() {
    let name = |text: &str| text.parse::<SecretName>().unwrap();
    let pattern = |text: &str| text.parse::<Pattern>().unwrap();
    assert!(pattern("tls").matches(&name("tls")));
    assert!(!pattern("tls").matches(&name("tls2")));
    assert!(pattern("tls-*").matches(&name("tls-a")));
    assert!(!pattern("tls-*").matches(&name("tls")));
    assert!(pattern("*").matches(&name("x")) && pattern("*").is_everything());
    for text in ["", "a*b", "**", "a/*", "/"] {
        assert!(text.parse::<Pattern>().is_err(), "{text}");
    }
    for text in ["tls", "tls-*", "*"] {
        assert_eq!(pattern(text).to_string(), text);
    }
}

#[test]
fn a_grant_names_at_least_one_secret() {
    assert_eq!(Patterns::new(vec![]), Err(Senseless::Patterns(0)));
    let many = (0..=Patterns::MAX).map(|n| format!("a{n}").parse().unwrap());
    assert!(matches!(
        Patterns::new(many.collect()),
        Err(Senseless::Patterns(101))
    ));
    let twice = vec![
        "b".parse().unwrap(),
        "a*".parse().unwrap(),
        "b".parse().unwrap(),
    ];
    let patterns = Patterns::new(twice).unwrap();
    assert_eq!(patterns.as_slice().len(), 2);
    assert!(patterns.cover(&"b".parse().unwrap()) && patterns.cover(&"ax".parse().unwrap()));
    assert!(!patterns.cover(&"c".parse().unwrap()));
}

#[test]
fn a_grant_must_say_who() {
    let parse =
        |texts: &[&str]| Selectors::new(texts.iter().map(|text| text.parse().unwrap()).collect());
    for nobody in [
        &[][..],
        &["unix:path:/bin/a"],
        &["unix:gid:1"],
        &["systemd:user_unit:a.service", "namespace:mnt:host"],
    ] {
        assert_eq!(parse(nobody), Err(Senseless::NoIdentity));
    }
    assert!(matches!(
        parse(&["unix:uid:1", "unix:uid:2"]),
        Err(Senseless::Contradiction(..))
    ));
    let selectors = parse(&["unix:gid:2", "unix:uid:1", "unix:uid:1"]).unwrap();
    assert_eq!(selectors.as_slice().len(), 2);
    let several = [
        "unix:uid:1",
        "unix:supplementary_gid:2",
        "unix:supplementary_gid:3",
    ];
    assert_eq!(parse(&several).unwrap().as_slice().len(), 3);
}

#[test]
fn terms_that_can_never_be_kept_are_refused() {
    let check = |terms: Terms| terms.check();
    let fields = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect();
    assert_eq!(check(Terms::default()), Ok(()));
    let keystore = Kind::from_name("keystore").ok();
    let chain = Terms {
        kind: keystore,
        fields: fields(&["certificate-chain"]),
        ..Terms::default()
    };
    assert_eq!(check(chain), Ok(()));
    let other = Terms {
        kind: keystore,
        fields: fields(&["password"]),
        ..Terms::default()
    };
    assert_eq!(check(other), Err(Senseless::Field("password".into())));
    let unknown = Terms {
        fields: fields(&["no such"]),
        ..Terms::default()
    };
    assert_eq!(check(unknown), Err(Senseless::Field("no such".into())));
    // A key-value may have it.
    let any = Terms {
        fields: fields(&["no-such"]),
        ..Terms::default()
    };
    assert_eq!(check(any), Ok(()));
    let window = |not_before, not_after| Terms {
        not_before,
        not_after,
        ..Terms::default()
    };
    assert_eq!(check(window(Some(5), Some(6))), Ok(()));
    assert_eq!(check(window(Some(5), Some(5))), Err(Senseless::NoTime));
    assert_eq!(check(window(None, Some(0))), Err(Senseless::NoTime));
    for (uses, seconds, fine) in [
        (1, 1, true),
        (1000, DAY, true),
        (0, 1, false),
        (1001, 1, false),
        (1, 0, false),
        (1, DAY + 1, false),
    ] {
        let terms = Terms {
            rate: Some(Rate { uses, seconds }),
            ..Terms::default()
        };
        assert_eq!(check(terms).is_ok(), fine, "{uses} in {seconds} s");
    }
}
