//! Pages of lists: where one ended, and the next goes on.

use aws_lc_rs::digest;
use custody::name::{GroupName, RuleId, SecretId};
use prost::Message;
use proto::v1;

use crate::{api::malformed, custodian::Error};

/// How many items a page has unless it is said.
const USUAL: u32 = 100;

/// How many it has at most.
const MOST: u32 = 1000;

/// After how many bytes a page ends: what every gRPC library takes, whatever one item adds.
const BYTES: usize = 1 << 20;

/// Bytes of a token that tell which list it is of.
const OF: usize = 8;

/// A request for a page.
pub(super) trait Paged: Message + Clone {
    /// Name of the message, which no other has.
    const NAME: &'static str;

    /// How many items are wanted, and the token of the page before.
    fn page(&self) -> (u32, &str);

    /// The same request for the first page.
    fn first(&self) -> Self;
}

macro_rules! paged {
    ($($request:ident)*) => {
        $(impl Paged for v1::$request {
            const NAME: &'static str = stringify!($request);

            fn page(&self) -> (u32, &str) {
                (self.page_size, &self.page_token)
            }

            fn first(&self) -> Self {
                Self { page_size: 0, page_token: String::new(), ..self.clone() }
            }
        })*
    };
}

paged! { ListGroupsRequest ListSecretsRequest ListVersionsRequest ListGrantsRequest }

/// Where in a list an item is. The list is in its order.
pub(super) trait Position: Sized {
    fn write(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

impl Position for GroupName {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Position for u32 {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Position for SecretId {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let (group, name) = text.split_once('/')?;
        Some(Self {
            group: group.parse().ok()?,
            name: name.parse().ok()?,
        })
    }
}

impl Position for (GroupName, RuleId) {
    fn write(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (group, id) = text.split_once('/')?;
        Some((group.parse().ok()?, id.parse().ok()?))
    }
}

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct Page<P, T> {
    of: [u8; OF],
    after: Option<P>,
    room: usize,
    bytes: usize,
    items: Vec<T>,
    last: Option<P>,
    is_last: bool,
}

impl<P: Position, T: Message> Page<P, T> {
    /// The page that `request` asks for, empty.
    pub(super) fn of<R: Paged>(request: &R) -> Result<Self, Error> {
        let (size, token) = request.page();
        let room = match size {
            0 => USUAL,
            1..=MOST => size,
            _ => return Err(malformed("page_size", &size.to_string(), TOO_MANY)),
        };
        let of = of(request);
        let after = match token {
            "" => None,
            token => {
                let position = read(token, of);
                Some(position.ok_or_else(|| malformed("page_token", token, NO_TOKEN))?)
            }
        };
        Ok(Self {
            of,
            after,
            room: usize::try_from(room).unwrap_or(usize::MAX),
            bytes: 0,
            items: Vec::new(),
            last: None,
            is_last: true,
        })
    }

    /// Where the page before ended; `None` if this is the first.
    pub(super) fn after(&self) -> Option<&P> {
        self.after.as_ref()
    }

    /// Takes in the next item, unless the page is full.
    pub(super) fn offer(&mut self, position: P, item: T) -> bool {
        let bytes = self.bytes + item.encoded_len();
        let is_full = self.items.len() == self.room || !self.items.is_empty() && bytes > BYTES;
        if is_full {
            self.is_last = false;
            return false;
        }
        self.bytes = bytes;
        self.items.push(item);
        self.last = Some(position);
        true
    }

    /// Takes in items while there is room, and gives them and the token for the next page, which
    /// is empty if there is none.
    pub(super) fn fill(mut self, items: impl IntoIterator<Item = (P, T)>) -> (Vec<T>, String) {
        for (position, item) in items {
            if !self.offer(position, item) {
                break;
            }
        }
        self.finish()
    }

    /// The items, and the token for the next page, which is empty if there is none.
    pub(super) fn finish(self) -> (Vec<T>, String) {
        let last = self.last.filter(|_| !self.is_last);
        let token = last.map_or_else(String::new, |last| write(&last, self.of));
        (self.items, token)
    }
}

const TOO_MANY: &str = "a page has at most 1,000 items";
const NO_TOKEN: &str = "it does not belong to such a request; begin with the first page";

/// What tells requests apart that are for pages of different lists.
fn of<R: Paged>(request: &R) -> [u8; OF] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(R::NAME.as_bytes());
    context.update(&request.first().encode_to_vec());
    let mut of = [0; OF];
    of.copy_from_slice(&context.finish().as_ref()[..OF]);
    of
}

fn write(position: &impl Position, of: [u8; OF]) -> String {
    hex::encode([of.as_slice(), position.write().as_bytes()].concat())
}

fn read<P: Position>(token: &str, of: [u8; OF]) -> Option<P> {
    let bytes = hex::decode(token).ok()?;
    let position = bytes.strip_prefix(&of)?;
    P::read(std::str::from_utf8(position).ok()?)
}

#[cfg(test)]
mod tests;
