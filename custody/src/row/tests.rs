//! What a tag and a digest bind.

use proptest::prelude::*;

use super::*;
use crate::{
    group::Purpose,
    holder::{Holders, TokenId},
    label::About,
};

fn key(byte: u8) -> RowKey {
    RowKey::take(PlaintextDek::take(&mut [byte; 32]).unwrap())
}

fn tag(byte: u8) -> Tag {
    Tag([byte; 32])
}

#[test]
fn a_tag_binds_columns_number_and_key() {
    let group = |description: &str| {
        Row::Group(Group {
            name: "web".parse().unwrap(),
            purpose: Purpose {
                about: About {
                    description: description.parse().unwrap(),
                    ..About::default()
                },
                ..Purpose::default()
            },
            cache: None,
            holders: Holders::only(TokenId::new("token", "1")),
            keeping: crate::group::Keeping::InToken,
            created: 1,
            created_by: 2,
        })
    };
    let tagged = Tagged {
        tag: key(1).tag(&group("a"), 5),
        row: group("a"),
        change: 5,
    };
    assert!(key(1).verifies(&tagged));
    assert!(!key(2).verifies(&tagged));
    assert!(!key(1).verifies(&Tagged {
        change: 6,
        ..tagged.clone()
    }));
    assert!(!key(1).verifies(&Tagged {
        row: group("b"),
        ..tagged
    }));
}

#[test]
fn a_digest_binds_every_row_and_the_entry() {
    let key = key(1);
    let mut set = SetHash::default();
    key.add(&mut set, tag(1));
    let one = key.digest(&set, 7);
    assert_ne!(one, key.digest(&set, 8));
    key.add(&mut set, tag(2));
    assert_ne!(one, key.digest(&set, 7));
    key.remove(&mut set, tag(2));
    assert_eq!(one, key.digest(&set, 7));
}

proptest! {
    #[test]
    fn a_set_is_its_rows_in_any_order(mut tags in proptest::collection::vec(any::<u8>(), 1..20), seed in any::<usize>()) {
        let key = key(1);
        let sum = |tags: &[u8]| {
            let mut set = SetHash::default();
            tags.iter().for_each(|&byte| key.add(&mut set, tag(byte)));
            set
        };
        let before = sum(&tags);
        let length = tags.len();
        tags.rotate_left(seed % length);
        prop_assert_eq!(before, sum(&tags));
        let gone = tags.pop().unwrap();
        let mut less = before;
        key.remove(&mut less, tag(gone));
        prop_assert_eq!(less, sum(&tags));
        prop_assert_ne!(less, before);
    }
}
