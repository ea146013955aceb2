//! What is made, how strong it is, and what is refused.

use std::collections::HashSet;

use super::*;
use crate::secret::tests::accept;

fn random() -> Random {
    Random::seeded(&[7; 64]).unwrap()
}

fn make(
    kind: &str,
    former: &[(&str, &str)],
    order: &Order,
) -> Result<(Fields, Properties), Refused> {
    let kind = Kind::from_name(kind)?;
    let former = former
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    let fields = kind.make(Some(&former.collect()), order, &mut random())?;
    let accepted = kind.accept(fields)?;
    let stored = Fields::decode(&accepted.content).unwrap();
    Ok((stored, accepted.properties))
}

fn refusal(kind: &str, order: &Order) -> String {
    make(kind, &[], order)
        .expect_err("it is refused")
        .to_string()
}

fn setting(name: &str, value: &str) -> Order {
    Order {
        set: vec![(name.to_owned(), value.to_owned())],
        ..Order::default()
    }
}

#[test]
fn alphabets_are_worth_what_is_said() {
    for alphabet in Alphabet::ALL {
        assert_eq!(alphabet.name().parse(), Ok(alphabet));
        let symbols = alphabet.symbols();
        assert_eq!(symbols.iter().collect::<HashSet<_>>().len(), symbols.len());
        // 2^worth ≤ size^1000, in logarithms.
        let worth = f64::from(u32::try_from(symbols.len()).unwrap()).log2() * 1000.0;
        let said = f64::from(alphabet.worth());
        assert!(said <= worth && worth < said + 1.0, "{alphabet:?}: {worth}");
    }
    let unknown = "latin".parse::<Alphabet>().unwrap_err().to_string();
    assert!(unknown.ends_with("alphanumeric, url-safe, printable, hex, digits"));
}

#[test]
fn a_password_is_as_long_as_128_bits_take_and_of_its_alphabet() {
    for (alphabet, usual, least) in [
        (Alphabet::Alphanumeric, 22, 11),
        (Alphabet::UrlSafe, 22, 11),
        (Alphabet::Printable, 20, 10),
        (Alphabet::Hex, 32, 16),
        (Alphabet::Digits, 39, 20),
    ] {
        let order = |length| Order {
            length,
            alphabet: Some(alphabet),
            ..Order::default()
        };
        let symbols = alphabet.symbols();
        for (length, made) in [(None, usual), (Some(least), least), (Some(1024), 1024)] {
            let (stored, _) = make("password", &[], &order(length)).unwrap();
            let password = stored.get("password").unwrap();
            assert_eq!(password.len(), made as usize, "{alphabet:?}");
            assert!(password.iter().all(|byte| symbols.contains(byte)));
        }
        let refused = refusal("password", &order(Some(least - 1)));
        assert!(
            refused.contains(&format!("ask for {least} or more")),
            "{refused}"
        );
        assert!(refusal("password", &order(Some(1025))).contains("over 1024"));
    }
}

#[test]
fn what_is_public_stays_unless_it_is_set() {
    let former = [("username", "jörg")];
    let (stored, properties) = make("basic-auth", &former, &Order::default()).unwrap();
    assert_eq!(properties, [("username".into(), "jörg".into())]);
    assert_eq!(stored.get("password").unwrap().len(), 22);
    let (_, properties) = make("basic-auth", &former, &setting("username", "eva")).unwrap();
    assert_eq!(properties, [("username".into(), "eva".into())]);
    let nameless = refusal("basic-auth", &Order::default());
    assert_eq!(nameless, "a basic-auth needs the field \"username\"");

    let former = [("id", "billing"), ("header", "X-Api-Key")];
    let (stored, properties) = make("api-key", &former, &setting("id", "books")).unwrap();
    let expected = [("id", "books"), ("header", "X-Api-Key")];
    assert_eq!(
        properties,
        expected.map(|(name, value)| (name.into(), value.into()))
    );
    assert_eq!(stored.get("key").unwrap().len(), 43);

    for (kind, field) in [
        ("basic-auth", "password"),
        ("api-key", "key"),
        ("password", "x"),
    ] {
        let refused = refusal(kind, &setting(field, "x"));
        assert!(
            refused.contains(&format!("{field:?} is no public field")),
            "{refused}"
        );
    }
}

#[test]
fn a_symmetric_key_is_like_the_former_one() {
    let made = |former: &[(&str, &str)], order: &Order| {
        let (_, properties) = make("symmetric-key", former, order).unwrap();
        (properties[0].1.clone(), properties[1].1.clone())
    };
    let is = |algorithm: &str, bits: &str| (algorithm.to_owned(), bits.to_owned());
    let order = Order::default();
    let former = [("algorithm", "aes"), ("bits", "128"), ("check-value", "00")];
    assert_eq!(made(&[], &order), is("aes", "256"));
    assert_eq!(made(&former, &order), is("aes", "128"));
    let hmac = setting("algorithm", "hmac-sha384");
    assert_eq!(made(&former, &hmac), is("hmac-sha384", "384"));
    let longer = Order {
        length: Some(32),
        ..Order::default()
    };
    assert_eq!(made(&former, &longer), is("aes", "256"));
    let odd = Order {
        length: Some(20),
        ..Order::default()
    };
    assert!(refusal("symmetric-key", &odd).contains("has 20 bytes, and a key for aes has 16"));
    assert!(refusal("symmetric-key", &setting("algorithm", "des")).contains("none of aes"));
    let text = Order {
        alphabet: Some(Alphabet::Hex),
        ..Order::default()
    };
    assert!(refusal("symmetric-key", &text).contains("bytes, not hex text"));
}

#[test]
fn what_is_made_is_new_each_time() {
    for kind in ["password", "api-key", "symmetric-key"] {
        let contents: HashSet<_> = (0..50)
            .map(|_| {
                let (stored, _) = make(kind, &[], &Order::default()).unwrap();
                let field = if kind == "password" {
                    "password"
                } else {
                    "key"
                };
                stored.get(field).unwrap().to_vec()
            })
            .collect();
        assert_eq!(contents.len(), 50, "{kind}");
    }
}

#[test]
fn every_other_type_says_what_to_do_instead() {
    for kind in Kind::all() {
        if let Err(refused) = kind.can_be_made() {
            let refused = refused.to_string();
            let start = format!("custodyd makes no {} by itself: ", kind.name());
            assert!(refused.starts_with(&start), "{refused}");
            assert!(refused.contains("custodyctl"), "{refused}");
        } else {
            assert!(
                ["password", "basic-auth", "api-key", "symmetric-key"].contains(&kind.name()),
                "{kind:?} is made, and not tested here"
            );
            accept(kind.name(), &[]).unwrap_err();
        }
    }
}
