//! A journal entry as one line for people: time, number, event, who, what.

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
        let secret = take("secret").or_else(|| take("pattern"));
        let secret = secret.map(|name| format!("/{name}")).unwrap_or_default();
        let version = take("version").map(|number| format!("@{number}"));
        words.push(format!("{group}{secret}{}", version.unwrap_or_default()));
    }
    // A public key and a digest tell a person nothing.
    for name in ["public_key", "signature", "hash", "state"] {
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
    use super::readable;

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
            ("nonsense", "no entry: nonsense"),
        ] {
            assert_eq!(readable(entry), line);
        }
    }
}
