use super::{condition::Condition, *};

fn labels(text: &str) -> Labels {
    serde_json::from_str(text).unwrap()
}

#[test]
fn keys_are_what_programs_can_write_without_quotes() {
    for text in ["a", "team", "example.org/cost-centre", "0", &"k".repeat(63)] {
        assert_eq!(text.parse::<Key>().unwrap().as_str(), text);
    }
    for text in ["", "Team", "-a", "a/", "a b", "a=b", "ü", &"k".repeat(64)] {
        assert!(
            matches!(text.parse::<Key>(), Err(Error::Key(_))),
            "{text:?}"
        );
    }
}

#[test]
fn texts_are_bounded_and_cannot_move_a_cursor() {
    assert_eq!("größe 1".parse::<Line>().unwrap().as_str(), "größe 1");
    let long = "ü".repeat(256);
    assert_eq!(
        long.parse::<Line>(),
        Err(Error::TooLong {
            count: 256,
            max: 255
        })
    );
    for c in ['\n', '\x1b', '\u{7f}', '\u{202e}', '\u{2028}'] {
        assert_eq!(c.to_string().parse::<Line>(), Err(Error::Unprintable(c)));
    }
    assert!("one\n\ttwo".parse::<Description>().is_ok());
    assert!("a\r".parse::<Description>().is_err());
    assert!("ü".repeat(1001).parse::<Description>().is_err());
}

#[test]
fn labels_are_set_and_removed_by_key_and_bounded() {
    let some = labels(r#"{"b":"1","a":"2"}"#);
    let keys: Vec<_> = some
        .as_slice()
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(keys, ["a", "b"]);
    let removed = ["a".parse().unwrap(), "z".parse().unwrap()];
    let changed = some.with(&labels(r#"{"b":"3","c":""}"#), &removed).unwrap();
    assert_eq!(changed, labels(r#"{"b":"3","c":""}"#));
    let many: BTreeMap<Key, Line> = (0..=32)
        .map(|n| (format!("k{n}").parse().unwrap(), Line::default()))
        .collect();
    assert_eq!(Labels::try_from(many), Err(Error::TooMany(33)));
    for text in [r#"{"A":"1"}"#, r#"{"a":"\u001b"}"#, r#"{"a":1}"#] {
        assert!(serde_json::from_str::<Labels>(text).is_err(), "{text}");
    }
}

#[test]
fn conditions_are_those_of_kubernetes() {
    let some = labels(r#"{"team":"edge","url":"a=b!"}"#);
    for (text, holds) in [
        ("team=edge", true),
        ("team=core", false),
        ("team!=edge", false),
        ("team!=core", true),
        ("other!=core", true),
        ("team", true),
        ("other", false),
        ("!team", false),
        ("!other", true),
        ("url=a=b!", true),
        ("team=", false),
    ] {
        let condition: Condition = text.parse().unwrap();
        assert_eq!(condition.holds(&some), holds, "{text}");
        assert_eq!(condition.to_string(), text);
    }
    for text in ["", "=", "!", "!team=edge", "Team", "a=\n", "a b"] {
        assert!(text.parse::<Condition>().is_err(), "{text:?}");
    }
}
