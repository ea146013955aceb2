use super::*;

type Versions = Page<u32, v1::Version>;

/// A version of so many bytes or a little more.
fn version(number: u32, bytes: usize) -> (u32, v1::Version) {
    let version = v1::Version {
        number,
        fingerprint: "f".repeat(bytes),
        ..v1::Version::default()
    };
    (number, version)
}

fn request(name: &str, page_size: u32, page_token: &str) -> v1::ListVersionsRequest {
    v1::ListVersionsRequest {
        group: "web".to_owned(),
        name: name.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    }
}

/// The pages of a list of versions of so many bytes each.
fn pages(versions: u32, bytes: usize, page_size: u32) -> Vec<Vec<u32>> {
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let page = Versions::of(&request("tls", page_size, &token)).unwrap();
        let first = page.after().map_or(1, |last| last + 1);
        let items = (first..=versions).map(|number| version(number, bytes));
        let (items, next) = page.fill(items);
        pages.push(items.iter().map(|item| item.number).collect());
        if next.is_empty() {
            return pages;
        }
        token = next;
    }
}

#[test]
fn pages_join_without_gap_or_overlap_and_the_last_says_so() {
    assert_eq!(pages(5, 0, 2), [vec![1, 2], vec![3, 4], vec![5]]);
    assert_eq!(pages(4, 0, 2), [vec![1, 2], vec![3, 4]]);
    assert_eq!(pages(0, 0, 2), [Vec::<u32>::new()]);
    assert_eq!(
        pages(101, 0, 0).iter().map(Vec::len).collect::<Vec<_>>(),
        [100, 1]
    );
}

#[test]
fn a_page_ends_before_it_is_too_large_and_has_one_item_at_least() {
    assert_eq!(pages(3, BYTES / 2 - 10, 0), [vec![1, 2], vec![3]]);
    assert_eq!(pages(2, 2 * BYTES, 0), [vec![1], vec![2]]);
}

#[test]
fn a_token_is_good_for_the_list_that_it_was_given_for_and_no_other() {
    let of_tls = Versions::of(&request("tls", 1, "")).unwrap();
    let (_, token) = of_tls.fill([version(1, 0), version(2, 0)]);
    // The size of a page may change.
    let next = Versions::of(&request("tls", 7, &token)).unwrap();
    assert_eq!(next.after(), Some(&1));
    let position_is_no_number = hex::encode([&hex::decode(&token).unwrap()[..OF], b"a"].concat());
    for request in [
        request("other", 1, &token),
        request("tls", 1, &token[2..]),
        request("tls", 1, "zz"),
        request("tls", 1, &position_is_no_number),
    ] {
        let error = Versions::of(&request).unwrap_err();
        assert!(error.to_string().contains("page_token"), "{error}");
    }
    let error = Versions::of(&request("tls", MOST + 1, "")).unwrap_err();
    assert!(error.to_string().contains("page_size"), "{error}");
}

#[test]
fn positions_survive_their_text() {
    let id = SecretId {
        group: "web.1".parse().unwrap(),
        name: "a_b-c".parse().unwrap(),
    };
    assert_eq!(SecretId::read(&id.write()), Some(id.clone()));
    let rule = (id.group, RuleId::random().unwrap());
    assert_eq!(<(GroupName, RuleId)>::read(&rule.write()), Some(rule));
}
