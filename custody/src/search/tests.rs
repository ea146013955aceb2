use super::*;
use crate::{
    envelope::{PlaintextDek, SealedDigest},
    group::{Group, Purpose},
    holder::{Holders, TokenId},
    label::About,
    name::{GroupName, SecretId, VersionId},
    row::{Row, RowKey},
    secret::version::{Fingerprint, VersionState},
    state::{State, edit::Edit},
};

fn about(description: &str, labels: &str) -> About {
    About {
        description: description.parse().unwrap(),
        labels: serde_json::from_str(labels).unwrap(),
    }
}

fn group(name: &str, environment: &str, labels: &str) -> Row {
    Row::Group(Group {
        name: name.parse().unwrap(),
        purpose: Purpose {
            environment: environment.parse().unwrap(),
            about: about("", labels),
            ..Purpose::default()
        },
        cache: None,
        holders: Holders::only(TokenId::new("token", "1")),
        keeping: crate::group::Keeping::InToken,
        created: 0,
        created_by: 0,
    })
}

fn id(text: &str) -> SecretId {
    let (group, name) = text.split_once('/').unwrap();
    SecretId {
        group: group.parse().unwrap(),
        name: name.parse().unwrap(),
    }
}

fn secret(at: &str, kind: &str, about: About) -> Row {
    Row::Secret(Secret {
        id: id(at),
        kind: Kind::from_name(kind).unwrap(),
        current: Some(1),
        previous: None,
        pending: None,
        keep: None,
        about,
        created: 0,
        created_by: 0,
    })
}

fn version(at: &str, number: u32, properties: &[(&str, &str)]) -> Row {
    let pairs = properties.iter();
    Row::Version(Version {
        id: VersionId {
            secret: id(at),
            number,
        },
        size: 0,
        sealed: SealedDigest::from_bytes([0; 32]),
        dek_generation: 1,
        exposed: None,
        fingerprint: Fingerprint::from_bytes([0; 32]),
        properties: pairs.map(|(a, b)| ((*a).into(), (*b).into())).collect(),
        state: VersionState::Enabled,
        valid_until: None,
        created: 0,
        created_by: 0,
    })
}

/// Three groups and four secrets.
fn state() -> State {
    let key = RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap());
    let mut state = State::empty(key);
    let old = [("serial", "0a:1b"), ("names", "dns:www.example.org, dns:b")];
    let new = [("serial", "0c:2d"), ("names", "dns:www.example.org")];
    let edit = Edit {
        puts: vec![
            group("db", "production", r#"{"team":"core"}"#),
            group("web", "test", r#"{"team":"edge"}"#),
            group("web-2", "test", "{}"),
            secret("db/password", "password", about("of the ledger", "{}")),
            secret("web/api", "api-key", about("", r#"{"owner":"Ledger"}"#)),
            secret("web/tls", "keystore", About::default()),
            version("web/tls", 1, &old),
            version("web/tls", 2, &new),
            secret("web-2/tls", "keystore", About::default()),
            version(
                "web-2/tls",
                1,
                &[("request", "a page of 0a:1b"), ("serial", "0a:1b")],
            ),
        ],
        ..Edit::default()
    };
    let plan = state.plan(edit, 1);
    state.adopt(&plan);
    state
}

fn glob(text: &str) -> Option<Glob> {
    Some(Glob::whole(text).unwrap())
}

fn groups(wanted: &Groups) -> Vec<String> {
    let state = state();
    let groups = state.groups().filter(|group| wanted.want(*group));
    groups.map(|group| group.row().name.to_string()).collect()
}

/// The secrets found, each with its versions.
fn secrets(wanted: &Secrets) -> Vec<String> {
    let state = state();
    let all = state.secrets_after(None, None, |_| true);
    let found = all.filter_map(|(_, secret)| Some((secret, wanted.find(secret)?)));
    let texts = found.map(|(secret, versions)| format!("{} {versions:?}", secret.row().id));
    texts.collect()
}

#[test]
fn a_glob_is_a_whole_text_or_a_part_and_minds_no_case() {
    let whole = |glob: &str, text| Glob::whole(glob).unwrap().matches(text);
    assert!(whole("tls", "TLS") && whole("ÄRGER", "ärger") && whole("t*s", "ts"));
    assert!(whole("*", "") && whole("a*c", "a\nc") && whole("a.c", "a.c"));
    assert!(!whole("tls", "tls2") && !whole("ls", "tls") && !whole("a.c", "abc"));
    assert!(!whole("", "a") && !whole("tls", "tls\n"));
    let within = |glob: &str, text| Glob::within(glob).unwrap().matches(text);
    assert!(within("L*2", "atls 12") && !within("tls2", "tls"));
    assert!(matches!(
        Glob::whole(&"ü".repeat(256)),
        Err(NoGlob::TooLong(256))
    ));
    assert!(Glob::within(&"*ü".repeat(127)).is_ok());
}

#[test]
fn groups_are_found_by_all_that_is_said_of_them() {
    assert_eq!(groups(&Groups::default()), ["db", "web", "web-2"]);
    let of = |change: fn(&mut Groups)| {
        let mut wanted = Groups::default();
        change(&mut wanted);
        groups(&wanted)
    };
    assert_eq!(of(|it| it.name = glob("WEB*")), ["web", "web-2"]);
    let test = |it: &mut Groups| it.environment = Some("test".parse().unwrap());
    assert_eq!(of(test), ["web", "web-2"]);
    assert_eq!(of(|it| it.business_group = Some(Line::default())).len(), 3);
    let no_team = |it: &mut Groups| it.labels = vec!["!team".parse().unwrap()];
    assert_eq!(of(no_team), ["web-2"]);
    let both = |it: &mut Groups| {
        it.environment = Some("test".parse().unwrap());
        it.labels = vec!["team".parse().unwrap()];
    };
    assert_eq!(of(both), ["web"]);
}

#[test]
fn secrets_are_found_by_what_is_public_of_one_version() {
    let of = |change: &dyn Fn(&mut Secrets)| {
        let mut wanted = Secrets::default();
        change(&mut wanted);
        secrets(&wanted)
    };
    assert_eq!(of(&|_| ()).len(), 4);
    assert_eq!(
        of(&|it| it.name = glob("t*")),
        ["web/tls []", "web-2/tls []"]
    );
    assert_eq!(
        of(&|it| it.kind = Kind::from_name("api-key").ok()),
        ["web/api []"]
    );
    let owner = |it: &mut Secrets| it.labels = vec!["owner=Ledger".parse().unwrap()];
    assert_eq!(of(&owner), ["web/api []"]);

    let having = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        let properties: Vec<_> = pairs
            .map(|(name, value)| ((*name).to_owned(), Glob::whole(value).unwrap()))
            .collect();
        of(&|it| it.properties = properties.clone())
    };
    assert_eq!(
        having(&[("serial", "0A:1B")]),
        ["web/tls [1]", "web-2/tls [1]"]
    );
    assert_eq!(
        having(&[("names", "dns:www.example.org")]),
        ["web/tls [1, 2]"]
    );
    assert_eq!(
        having(&[("names", "dns:b"), ("serial", "0a*")]),
        ["web/tls [1]"]
    );
    // Each is there, but not in one version.
    assert!(having(&[("names", "dns:b"), ("serial", "0c:2d")]).is_empty());
    assert!(having(&[("names", "www.example.org")]).is_empty());
    assert!(having(&[("request", "*")]).is_empty());
}

#[test]
fn a_text_is_found_wherever_it_is_public() {
    let of = |text: &str, serial: Option<&str>| {
        let properties = serial.iter();
        secrets(&Secrets {
            text: Some(Glob::within(text).unwrap()),
            properties: properties
                .map(|serial| ("serial".to_owned(), Glob::whole(serial).unwrap()))
                .collect(),
            ..Secrets::default()
        })
    };
    assert_eq!(of("ledger", None), ["db/password []", "web/api []"]);
    assert_eq!(of("example.ORG", None), ["web/tls [1, 2]"]);
    assert_eq!(of("tls", None), ["web/tls []", "web-2/tls []"]);
    assert_eq!(of("tls", Some("0c*")), ["web/tls [2]"]);
    assert_eq!(of("dns:b", Some("0*")), ["web/tls [1]"]);
    assert!(of("dns:b", Some("0c*")).is_empty());
    assert!(of("a page", None).is_empty());
    assert!(of("nowhere", None).is_empty());
}

#[test]
fn a_list_goes_on_after_any_secret_there_was() {
    let state = state();
    let rest = |after: Option<&str>, only: Option<&str>, not: &str| {
        let after = after.map(id);
        let only: Option<GroupName> = only.map(|only| only.parse().unwrap());
        let wanted = |group: GroupView<'_>| group.row().name.as_str() != not;
        let rest = state.secrets_after(after.as_ref(), only.as_ref(), wanted);
        let ids = rest.map(|(_, secret)| secret.row().id.to_string());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(rest(None, None, "web"), ["db/password", "web-2/tls"]);
    assert_eq!(rest(Some("web/api"), None, ""), ["web/tls", "web-2/tls"]);
    assert_eq!(rest(Some("web/gone"), None, ""), ["web/tls", "web-2/tls"]);
    assert_eq!(
        rest(Some("dc/gone"), None, ""),
        ["web/api", "web/tls", "web-2/tls"]
    );
    assert_eq!(rest(Some("web/api"), Some("web"), ""), ["web/tls"]);
    assert_eq!(
        rest(Some("db/password"), Some("web"), ""),
        ["web/api", "web/tls"]
    );
    assert!(rest(Some("web-2/tls"), None, "").is_empty());
    // Positions are given by callers, who can make them up.
    assert!(rest(Some("web-2/a"), Some("web"), "").is_empty());
    assert!(rest(None, Some("none"), "").is_empty());
}
