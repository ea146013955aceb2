//! Every type of secret, with any values: what is accepted is what is delivered, is
//! accepted again, and does not show in its public metadata. The input is values with a
//! byte 0 between them, in the order of a type's fields and inputs; an empty one is not
//! given. A type whose fields people name takes names and values by turns.
#![no_main]

use custody::secret::{Kind, Shape, fields::Fields};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for kind in Kind::all() {
        let Ok(accepted) = kind.accept(given(kind, input)) else {
            continue;
        };
        let stored = Fields::decode(&accepted.content).expect("what was encoded");
        let names = stored.names().collect::<Vec<_>>().join(" ");
        let again = Fields::decode(&accepted.content).expect("what was encoded");
        let again = kind.accept(again).expect("what was accepted");
        assert_eq!(again.content.expose(), accepted.content.expose());
        assert_eq!(again.properties, accepted.properties);

        let (mut size, mut public, mut secret) = (0, Vec::new(), Vec::new());
        for (name, value) in stored {
            size += value.len() as u64;
            match kind.is_public(&name) {
                true => public.push(value),
                false => secret.push(value),
            }
        }
        if let Shape::Free = kind.shape() {
            public.push(names.into_bytes().into());
        }
        assert_eq!(accepted.size, size);
        for secret in secret {
            // Whoever calls a variable or a user like its value has published it.
            let is_published = public.iter().any(|public| contains(public, &secret));
            let shows = |value: &str| contains(value.as_bytes(), &secret);
            if secret.len() >= 8 && !is_published {
                assert!(!accepted.properties.iter().any(|(_, value)| shows(value)));
            }
        }
    }
});

fn given(kind: Kind, input: &[u8]) -> Fields {
    let mut parts = input.split(|&byte| byte == 0);
    let mut given = Fields::default();
    match kind.shape() {
        Shape::Fields(fields) => {
            let fields = fields.iter().map(|field| field.name);
            for name in fields.chain(kind.inputs().iter().copied()) {
                match parts.next() {
                    None | Some([]) => {}
                    Some(value) => given.push(name.to_owned(), value.to_vec()),
                }
            }
        }
        Shape::Free => {
            while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                let name = String::from_utf8_lossy(name).into_owned();
                given.push(name, value.to_vec());
            }
        }
    }
    given
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}
