//! A journal entry for people: on one line (time, number, event, who, what), or in full.

use serde_json::{Map, Value};

/// The line; an entry that cannot be understood is shown as it is.
pub(super) fn readable(entry: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(entry) else {
        return format!("no entry: {entry}");
    };
    let mut take = |name: &str| fields.remove(name).map(|value| plain(&value));
    let time = take("time").unwrap_or_default();
    let number = take("seq").unwrap_or_default();
    let kind = take("kind").unwrap_or_default();
    take("prev");
    let time = time
        .parse()
        .map_or(time, |time: jiff::Timestamp| format!("{time:.0}"));
    let who = who(&mut fields);
    let what = what(&kind, &mut fields);
    let line = format!("{time}  {number:>6}  {kind:<11}  {who:<28}  {what}");
    line.trim_end().to_owned()
}

/// The number of an entry; `None` for what is none.
pub(super) fn number(entry: &str) -> Option<u64> {
    let fields: Value = serde_json::from_str(entry).ok()?;
    fields.get("seq")?.as_u64()
}

/// Everything that an entry says, by name; what is within something has its name first.
pub(super) fn facts(entry: &str) -> Vec<(String, String)> {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(entry) else {
        return vec![("no entry".to_owned(), entry.to_owned())];
    };
    let mut facts = Vec::new();
    for name in ["seq", "time", "kind"] {
        if let Some(value) = fields.remove(name) {
            collect(name, &value, &mut facts);
        }
    }
    for (name, value) in &fields {
        collect(name, value, &mut facts);
    }
    facts
}

fn collect(name: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (inner, value) in fields {
                collect(&format!("{name} {inner}"), value, facts);
            }
        }
        Value::Array(values) => {
            let lines: Vec<_> = values.iter().map(plain).collect();
            facts.push((name.to_owned(), lines.join("\n")));
        }
        other => facts.push((name.to_owned(), plain(other))),
    }
}

/// The process, by what tells it best.
fn who(fields: &mut Map<String, Value>) -> String {
    let caller = ["caller", "operator"]
        .iter()
        .find_map(|name| fields.remove(*name));
    let Some(Value::Object(caller)) = caller else {
        let uid = fields.remove("uid");
        return uid.map_or("-".to_owned(), |uid| format!("uid {}", plain(&uid)));
    };
    let get = |name: &str| caller.get(name).map(plain);
    let mut who = vec![format!("uid {}", get("uid").unwrap_or("?".into()))];
    match (get("unit"), get("exe")) {
        (Some(unit), _) => who.push(unit),
        (None, Some(exe)) => who.push(exe),
        (None, None) => {}
    }
    who.join(" ")
}

/// The secret if there is one, and then whatever else the entry says.
fn what(kind: &str, fields: &mut Map<String, Value>) -> String {
    let mut words = Vec::new();
    if let Some(Value::Object(mut change)) = fields.remove("change") {
        words.extend(change.remove("change").map(|kind| plain(&kind)));
        fields.append(&mut change);
    }
    let mut take = |name: &str| fields.remove(name).map(|value| plain(&value));
    if let Some(group) = take("group") {
        let secret = ["secret", "pattern", "patterns"]
            .into_iter()
            .find_map(&mut take);
        let secret = secret.map(|name| format!("/{name}")).unwrap_or_default();
        let version = take("version").map(|number| format!("@{number}"));
        words.push(format!("{group}{secret}{}", version.unwrap_or_default()));
    }
    // Keys, digests and the names of assignments tell a person nothing.
    for name in ["public_key", "signature", "hash", "state", "roles"] {
        if kind != "token" || name != "state" {
            fields.remove(name);
        }
    }
    let rest = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", plain(value)));
    words.extend(rest);
    words.join(" ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join("+"),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}:{}", plain(value)))
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{facts, readable};

    #[test]
    fn an_entry_tells_who_did_what() {
        for (entry, line) in [
            (
                r#"{"seq":7,"time":"2026-01-02T03:04:05.678Z","prev":"00","kind":"allow",
                    "operation":"deliver","group":"web","secret":"tls","version":3,
                    "caller":{"pid":1,"uid":33,"gid":33,"unit":"nginx.service"}}"#,
                "2026-01-02T03:04:05Z       7  allow        uid 33 nginx.service          \
                 web/tls@3 operation=deliver",
            ),
            (
                r#"{"seq":8,"time":"2026-01-02T03:04:05Z","prev":"00","kind":"prepare",
                    "number":2,"state":"ff","operator":{"uid":0,"exe":"/usr/bin/custodyctl"},
                    "change":{"change":"create-group","group":"web","master_key":"ab"}}"#,
                "2026-01-02T03:04:05Z       8  prepare      uid 0 /usr/bin/custodyctl     \
                 create-group web master_key=ab number=2",
            ),
            (
                r#"{"seq":9,"time":"2026-01-02T03:04:05Z","prev":"00","kind":"prepare",
                    "change":{"change":"add-grant","group":"web","patterns":["tls","x*"]}}"#,
                "2026-01-02T03:04:05Z       9  prepare      -                             \
                 add-grant web/tls+x*",
            ),
            (
                r#"{"seq":10,"time":"2026-01-02T03:04:05Z","prev":"00","kind":"manage",
                    "operation":"list-roles","roles":["aa","bb"],"operator":{"uid":0}}"#,
                "2026-01-02T03:04:05Z      10  manage       uid 0                         \
                 operation=list-roles",
            ),
            ("nonsense", "no entry: nonsense"),
        ] {
            assert_eq!(readable(entry), line);
        }
    }

    #[test]
    fn everything_in_an_entry_can_be_seen() {
        let entry = r#"{"caller":{"uid":33,"groups":[4,5]},"kind":"allow","prev":"00","seq":7}"#;
        let facts = facts(entry);
        let lines: Vec<_> = facts
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let whole = [
            "seq=7",
            "kind=allow",
            "caller groups=4\n5",
            "caller uid=33",
            "prev=00",
        ];
        assert_eq!(lines, whole);
    }
}
