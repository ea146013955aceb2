//! Where content is written to, and as which files.

use std::path::Path;

use client::Fetched;
use custody::secret::Kind;
use zeroize::Zeroizing;

use super::{Error, release::Written};
use crate::{
    failure::Failure,
    files::{self, Target, generation},
};

/// The folder of the context's own fields, among those of its parts.
const CONTEXT: &str = "context";

pub(super) fn write(target: &Target, fetched: &Fetched) -> Result<Vec<Written>, Failure> {
    match target {
        Target::File(path) => {
            let content = bundle(fetched)?;
            files::replace(&[(path.clone(), &content)])?;
            Ok(vec![Written {
                path: path.clone(),
                fields: names(fetched),
                bytes: content.len(),
            }])
        }
        Target::Folder(folder) if fetched.parts.is_empty() => {
            let mut files = Vec::new();
            for (field, content) in &fetched.fields {
                files.push((
                    folder.join(file_name(&fetched.kind, field)?),
                    content.as_slice(),
                ));
            }
            files::make_folder(folder)?;
            files::replace(&files)?;
            let written = files.into_iter().zip(names(fetched));
            Ok(written
                .map(|((path, content), field)| Written {
                    path,
                    fields: vec![field],
                    bytes: content.len(),
                })
                .collect())
        }
        Target::Folder(folder) => together(folder, fetched),
    }
}

/// Writes a secret and its parts, each into a folder of its own, so that they replace what
/// was there all at once.
fn together(folder: &Path, fetched: &Fetched) -> Result<Vec<Written>, Failure> {
    let parts = fetched.parts.iter();
    let parts = parts.map(|part| (part.field.as_str(), &part.secret));
    let mut files = Vec::new();
    let mut written = Vec::new();
    for (place, secret) in std::iter::once((CONTEXT, fetched)).chain(parts) {
        let place = plain_name(place)?;
        for (field, content) in &secret.fields {
            let name = file_name(&secret.kind, field)?;
            written.push(Written {
                path: folder.join(&place).join(&name),
                fields: vec![field.clone()],
                bytes: content.len(),
            });
            files.push(generation::File {
                folder: place.clone(),
                name,
                content,
            });
        }
    }
    files::make_folder(folder)?;
    generation::replace(folder, &files)?;
    Ok(written)
}

fn names(fetched: &Fetched) -> Vec<String> {
    let fields = fetched.fields.iter();
    fields.map(|(name, _)| name.clone()).collect()
}

/// The name of the file of a field of a secret of that type. Documents in a format have theirs
/// from custodyd.
fn file_name(kind: &str, field: &str) -> Result<String, Error> {
    let name = plain_name(field)?;
    let is_pem = Kind::from_name(kind).is_ok_and(|kind| kind.is_pem(field));
    Ok(if is_pem { format!("{name}.pem") } else { name })
}

/// `name`, if it is one for a file in a folder.
pub(super) fn plain_name(name: &str) -> Result<String, Error> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_fine) {
        return Err(Error::FileName(name.to_owned()));
    }
    Ok(name.to_owned())
}

/// The content as one sequence of bytes.
pub(super) fn bundle(fetched: &Fetched) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut all = Zeroizing::new(Vec::new());
    match &fetched.fields[..] {
        [(_, content)] => all.extend_from_slice(content),
        // Programs that read a bundle take the first certificate for their own.
        fields if fetched.kind == "keystore" => {
            for wanted in ["certificate-chain", "private-key"] {
                for (_, content) in fields.iter().filter(|(name, _)| name == wanted) {
                    all.extend_from_slice(content);
                    if all.last() != Some(&b'\n') {
                        all.push(b'\n');
                    }
                }
            }
        }
        _ => {
            return Err(Error::NoBundle(
                fetched.kind.clone(),
                names(fetched).join(", "),
            ));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_name_a_file_elsewhere() {
        for name in [
            "../../etc/cron.d/x",
            "..",
            ".bashrc",
            "a/b",
            "",
            "a\0b",
            "a b",
        ] {
            assert!(file_name("key-value", name).is_err(), "{name:?}");
        }
        for name in ["password", "DB_PASSWORD", "tls.key", "keystore.p12", "a..b"] {
            assert_eq!(file_name("key-value", name).unwrap(), name);
        }
    }

    #[test]
    fn what_is_pem_by_its_type_is_called_so() {
        for (kind, field, name) in [
            ("keystore", "private-key", "private-key.pem"),
            ("crl-distributor", "crls", "crls.pem"),
            ("tls-context", "crls", "crls"),
            ("blob", "content", "content"),
            ("keystore", "keystore.p12", "keystore.p12"),
            ("a type of tomorrow", "private-key", "private-key"),
        ] {
            assert_eq!(file_name(kind, field).unwrap(), name, "{kind}");
        }
    }
}
