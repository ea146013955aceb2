//! Messages behind their lengths, on their way through a socket.

use std::ops::Range;

use prost::Message;
use zeroize::{Zeroize as _, Zeroizing};

/// The most bytes that a message has.
pub(crate) const MAX_FRAME: usize = 64 * 1024;

/// Bytes that are no message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFrame {
    #[error("a message of {0} bytes is over the limit of {MAX_FRAME}")]
    TooLong(usize),
    #[error("a message cannot be decoded")]
    Undecodable,
}

/// Appends `message` behind its length.
pub(crate) fn put(out: &mut Vec<u8>, message: &impl Message) -> Result<(), BadFrame> {
    let len = message.encoded_len();
    let prefix = u32::try_from(len)
        .ok()
        .filter(|_| len <= MAX_FRAME)
        .ok_or(BadFrame::TooLong(len))?;
    out.reserve(4 + len);
    out.extend_from_slice(&prefix.to_be_bytes());
    message.encode_raw(out);
    Ok(())
}

/// Bytes that arrived, until they are taken out as messages. What was taken is wiped.
pub(crate) struct Inbox {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Zeroizing::new(vec![0; 2 * (MAX_FRAME + 4)]),
            start: 0,
            end: 0,
        }
    }

    /// Room to read into; never empty as long as complete messages are taken out.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.bytes.len() - self.end < MAX_FRAME + 4 {
            let (start, end) = (self.start, self.end);
            self.bytes.copy_within(start..end, 0);
            self.bytes[end - start..end].zeroize();
            (self.start, self.end) = (0, end - start);
        }
        &mut self.bytes[self.end..]
    }

    /// Says that `count` bytes of the room were filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// How many messages are complete, counting to `most`.
    pub(crate) fn complete(&self, most: usize) -> Result<usize, BadFrame> {
        let (mut count, mut at) = (0, self.start);
        while count < most
            && let Some(frame) = self.frame_at(at)?
        {
            count += 1;
            at = frame.end;
        }
        Ok(count)
    }

    /// Takes the first complete message out.
    pub(crate) fn take<M: Message + Default>(&mut self) -> Result<Option<M>, BadFrame> {
        let Some(frame) = self.frame_at(self.start)? else {
            return Ok(None);
        };
        let message = M::decode(&self.bytes[frame.clone()]);
        self.start = frame.end;
        self.bytes[frame].zeroize();
        message.map(Some).map_err(|_| BadFrame::Undecodable)
    }

    fn frame_at(&self, at: usize) -> Result<Option<Range<usize>>, BadFrame> {
        let Some(prefix) = self.bytes[at..self.end].first_chunk::<4>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if len > MAX_FRAME {
            return Err(BadFrame::TooLong(len));
        }
        let frame = at + 4..at + 4 + len;
        Ok((frame.end <= self.end).then_some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Answer, Done, Op, Request, Secret};

    fn answer(id: u64) -> Answer {
        Answer {
            amiss: Vec::new(),
            id,
            done: Some(Done::Revealed(Secret { bytes: vec![7; 32] })),
        }
    }

    #[test]
    fn messages_come_out_whole_however_they_came_in() {
        let mut out = Vec::new();
        for id in 1..=2000 {
            put(&mut out, &answer(id)).unwrap();
        }
        let (mut inbox, mut expected) = (Inbox::new(), 1);
        for piece in out.chunks(1009) {
            let space = inbox.space();
            space[..piece.len()].copy_from_slice(piece);
            inbox.filled(piece.len());
            while let Some(message) = inbox.take::<Answer>().unwrap() {
                assert_eq!(message.id, expected);
                expected += 1;
            }
        }
        assert_eq!(expected, 2001);
    }

    #[test]
    fn what_was_taken_is_wiped() {
        let mut out = Vec::new();
        put(&mut out, &answer(1)).unwrap();
        let mut inbox = Inbox::new();
        inbox.space()[..out.len()].copy_from_slice(&out);
        inbox.filled(out.len());
        inbox.take::<Answer>().unwrap().unwrap();
        assert!(!inbox.bytes.contains(&7));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_length() {
        let mut inbox = Inbox::new();
        inbox.space()[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        inbox.filled(4);
        let refused = Err(BadFrame::TooLong(4_294_967_295));
        assert_eq!(inbox.complete(1), refused);
        let long = Request {
            id: 1,
            op: Some(Op::CheckCanary(vec![0; MAX_FRAME])),
        };
        assert!(put(&mut Vec::new(), &long).is_err());
    }

    #[test]
    fn key_bytes_do_not_print() {
        assert!(!format!("{:?}", answer(1)).contains('7'));
    }
}
