//! Kubernetes manifests: the Secrets in a stream of YAML or JSON, as kubectl prints them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use custody::secret::fields::Fields;
use zeroize::Zeroizing;

use super::yaml::{self, Error, Node, Value};

/// An object of a manifest.
#[derive(Debug)]
pub(crate) struct Object {
    /// Where it begins.
    pub(crate) line: usize,
    /// Its name, after its namespace if it has one.
    pub(crate) name: String,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Secret(Secret),
    /// Something else, of that kind.
    Other(String),
    /// A Secret that is not read, and why.
    Broken(String),
}

/// A Kubernetes Secret.
#[derive(Debug)]
pub(crate) struct Secret {
    /// Its name, without its namespace.
    pub(crate) name: String,
    /// Its type, such as `kubernetes.io/tls`.
    pub(crate) kind: String,
    /// Its data, decoded.
    pub(crate) values: Fields,
}

/// The objects of a manifest, those of lists one by one.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    for document in yaml::read(bytes)? {
        take(document, &mut objects);
    }
    Ok(objects)
}

fn take(node: Node, objects: &mut Vec<Object>) {
    let Node { line, value } = node;
    let text = |key: &str| value.get(key).and_then(Value::text).map(str::to_owned);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        let what = What::Other(String::new());
        let name = String::new();
        objects.push(Object { line, name, what });
        return;
    };
    let metadata = |key: &str| {
        let metadata = value.get("metadata");
        metadata.and_then(|metadata| metadata.get(key)?.text().map(str::to_owned))
    };
    let own = metadata("name").unwrap_or_default();
    let name = match metadata("namespace") {
        Some(namespace) => format!("{namespace}/{own}"),
        None => own.clone(),
    };
    if version != "v1" || !matches!(&*kind, "Secret" | "SecretList" | "List") {
        let what = What::Other(kind);
        objects.push(Object { line, name, what });
        return;
    }
    if kind != "Secret" {
        if let Value::Map(mut map) = value
            && let Some(Node {
                value: Value::List(items),
                ..
            }) = map.remove("items")
        {
            // A list in a list is none that kubectl prints.
            for item in items {
                let is_list = matches!(item.value.get("items"), Some(Value::List(_)));
                match is_list {
                    true => objects.push(Object {
                        line: item.line,
                        name: String::new(),
                        what: What::Other("List".to_owned()),
                    }),
                    false => take(item, objects),
                }
            }
        }
        return;
    }
    let kind = text("type").unwrap_or_else(|| "Opaque".to_owned());
    let what = match values(&value) {
        _ if own.is_empty() => What::Broken("it has no name".to_owned()),
        Ok(values) => What::Secret(Secret {
            name: own,
            kind,
            values,
        }),
        Err(why) => What::Broken(why),
    };
    objects.push(Object { line, name, what });
}

/// What a Secret holds; `stringData` goes before `data`, as in the cluster.
fn values(secret: &Value) -> Result<Fields, String> {
    if secret.get("sops").is_some() {
        return Err("it is encrypted by sops; import what 'sops decrypt FILE' prints".to_owned());
    }
    let mut values = Fields::default();
    for (name, text) in texts(secret, "stringData")? {
        values.push(name.to_owned(), text.as_bytes().to_vec());
    }
    for (name, text) in texts(secret, "data")? {
        if values.get(name).is_some() {
            continue;
        }
        let lines = text.split(['\r', '\n']);
        let mut joined = Zeroizing::new(String::with_capacity(text.len()));
        lines.for_each(|line| joined.push_str(line));
        let mut value = Zeroizing::new(Vec::with_capacity(joined.len() / 4 * 3 + 3));
        STANDARD
            .decode_vec(joined.as_bytes(), &mut value)
            .map_err(|_| format!("{name:?} of its data is not base64"))?;
        values.push_wiped(name.to_owned(), value);
    }
    Ok(values)
}

fn texts<'a>(secret: &'a Value, part: &str) -> Result<Vec<(&'a str, &'a str)>, String> {
    let map = match secret.get(part) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Map(map)) => map,
        Some(_) => return Err(format!("its {part} is no mapping")),
    };
    let texts = map.iter().map(|(name, node)| match &node.value {
        Value::Text(text) => Ok((name.as_str(), text.as_str())),
        Value::Null => Ok((name.as_str(), "")),
        _ => Err(format!(
            "{name:?} of its {part} is no text; a number or a word like 'yes' goes in quotes"
        )),
    });
    texts.collect()
}

#[cfg(test)]
mod tests;
