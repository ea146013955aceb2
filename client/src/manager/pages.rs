//! Lists, page by page until their end.

use super::Manager;
use crate::{Error, v1};

/// The most items that custodyd puts on a page.
const PAGE: usize = 1000;

/// What was asked for of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    /// The first items, as many as were asked for.
    pub items: Vec<T>,
    /// Whether there are more.
    pub more: bool,
}

macro_rules! lists {
    ($($name:ident($call:ident, $request:ident) -> $items:ident $item:ident: $doc:literal;)*) => {
        impl Manager {$(
            #[doc = $doc]
            ///
            /// The first `most` of them, from as many pages as that takes; the page that the
            /// request names does not count.
            ///
            /// # Errors
            ///
            /// What custodyd answers, as an [`Error`].
            pub async fn $name(
                &self,
                mut request: v1::$request,
                most: usize,
            ) -> Result<Listed<v1::$item>, Error> {
                let mut items = Vec::new();
                request.page_token.clear();
                loop {
                    let wanted = (most - items.len()).min(PAGE);
                    request.page_size = u32::try_from(wanted).unwrap_or(u32::MAX);
                    let page = self.$call(request.clone()).await?;
                    items.extend(page.$items);
                    request.page_token = page.next_page_token;
                    let more = !request.page_token.is_empty();
                    if !more || items.len() >= most {
                        return Ok(Listed { items, more });
                    }
                }
            }
        )*}
    };
}

lists! {
    groups(list_groups, ListGroupsRequest) -> groups Group:
        "The groups that the operator has a role for and that are looked for, by name.";
    secrets(list_secrets, ListSecretsRequest) -> secrets Secret:
        "The secrets that are looked for, by group and name.";
    versions(list_versions, ListVersionsRequest) -> versions Version:
        "The versions of a secret, oldest first.";
    grants(list_grants, ListGrantsRequest) -> grants Grant:
        "The grants of one group, or of all that the operator has a role for.";
}
