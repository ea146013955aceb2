//! Whose turn it is at the token, when more deliveries want it than it takes at a time.
//!
//! Groups take turns, and in each group its callers do: who asks for much waits for itself.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use custody::name::GroupName;
use tokio::sync::oneshot;

use crate::throttle::Asker;

/// The deliveries that are at the token, and those that wait for their turn.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How many may wait.
    places: usize,
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    /// Turns that nobody has. There are none while anybody waits.
    free: usize,
    waiting: usize,
    groups: VecDeque<(GroupName, Callers)>,
    of_callers: HashMap<Asker, usize>,
}

/// Those who wait in one group, in the order in which they are next.
type Callers = VecDeque<(Asker, VecDeque<oneshot::Sender<Turn>>)>;

/// A turn, which is the next one's when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

/// As many wait as may: of all, or of this caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Turns {
    /// Has so many deliveries at the token at a time, and so many wait; of one caller no more
    /// than half of these.
    pub(crate) fn new(at_once: usize, places: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            line: Mutex::new(Line {
                free: at_once,
                waiting: 0,
                groups: VecDeque::new(),
                of_callers: HashMap::new(),
            }),
        })
    }

    /// Takes a turn, or a place in the line for one.
    pub(crate) fn take(
        self: &Arc<Self>,
        group: &GroupName,
        asker: &Asker,
    ) -> Result<oneshot::Receiver<Turn>, Full> {
        let (sender, receiver) = oneshot::channel();
        let mut line = self.lock();
        if line.free > 0 {
            line.free -= 1;
            drop(line);
            self.give(sender);
            return Ok(receiver);
        }
        if self.is_full(&line, asker) {
            line.pass_over_who_is_gone();
            if self.is_full(&line, asker) {
                return Err(Full);
            }
        }
        line.push(group, asker, sender);
        Ok(receiver)
    }

    fn is_full(&self, line: &Line, asker: &Asker) -> bool {
        let of_caller = line.of_callers.get(asker).copied().unwrap_or_default();
        line.waiting >= self.places || of_caller >= self.places.div_ceil(2)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Whoever is next has the turn that has just ended.
    fn pass_on(self: &Arc<Self>) {
        let next = {
            let mut line = self.lock();
            let next = line.next();
            if next.is_none() {
                line.free += 1;
            }
            next
        };
        if let Some(sender) = next {
            self.give(sender);
        }
    }

    fn give(self: &Arc<Self>, sender: oneshot::Sender<Turn>) {
        // To one who has gone meanwhile it comes back, and is dropped: it is the next one's.
        drop(sender.send(Turn(Arc::clone(self))));
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Line {
    fn push(&mut self, group: &GroupName, asker: &Asker, sender: oneshot::Sender<Turn>) {
        self.waiting += 1;
        *self.of_callers.entry(asker.clone()).or_default() += 1;
        let callers = entry(&mut self.groups, group);
        entry(callers, asker).push_back(sender);
    }

    /// Those who waited for too long keep nobody out.
    fn pass_over_who_is_gone(&mut self) {
        self.waiting = 0;
        self.of_callers.clear();
        for (_, callers) in &mut self.groups {
            for (asker, senders) in &mut *callers {
                senders.retain(|sender| !sender.is_closed());
                if !senders.is_empty() {
                    self.waiting += senders.len();
                    *self.of_callers.entry(asker.clone()).or_default() += senders.len();
                }
            }
            callers.retain(|(_, senders)| !senders.is_empty());
        }
        self.groups.retain(|(_, callers)| !callers.is_empty());
    }

    /// The first of the first caller of the first group, both of which are last then.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        loop {
            let (group, mut callers) = self.groups.pop_front()?;
            let (asker, mut senders) = callers.pop_front()?;
            let sender = senders.pop_front()?;
            self.waiting -= 1;
            if let Some(count) = self.of_callers.get_mut(&asker) {
                *count -= 1;
                if *count == 0 {
                    self.of_callers.remove(&asker);
                }
            }
            if !senders.is_empty() {
                callers.push_back((asker, senders));
            }
            if !callers.is_empty() {
                self.groups.push_back((group, callers));
            }
            // Those who are gone are passed over here, and not one within the other's drop.
            if !sender.is_closed() {
                return Some(sender);
            }
        }
    }
}

/// What belongs to `key`, which is last if there was nothing.
fn entry<'a, K: Clone + PartialEq, V: Default>(
    entries: &'a mut VecDeque<(K, V)>,
    key: &K,
) -> &'a mut V {
    let at = entries.iter().position(|(other, _)| other == key);
    let at = at.unwrap_or_else(|| {
        entries.push_back((key.clone(), V::default()));
        entries.len() - 1
    });
    &mut entries[at].1
}

#[cfg(test)]
mod tests {
    use super::*;

    type Waiter = (&'static str, oneshot::Receiver<Turn>);

    fn take(turns: &Arc<Turns>, group: &str, uid: u32) -> Result<oneshot::Receiver<Turn>, Full> {
        turns.take(&group.parse().unwrap(), &Asker::unattested(uid))
    }

    /// The names of those who wait, in the order in which they get the turn that is held.
    fn order(held: Turn, mut waiters: Vec<Waiter>) -> Vec<&'static str> {
        let mut turn = Some(held);
        let mut order = Vec::new();
        while !waiters.is_empty() {
            drop(turn.take());
            let mut got = None;
            waiters.retain_mut(|(name, waiter)| match waiter.try_recv() {
                Ok(turn) => {
                    got = Some((*name, turn));
                    false
                }
                Err(_) => true,
            });
            let (name, next) = got.expect("the turn is somebody's");
            order.push(name);
            turn = Some(next);
        }
        order
    }

    #[test]
    fn who_comes_when_there_is_room_does_not_wait() {
        let turns = Turns::new(2, 1);
        let (mut a, mut b) = (take(&turns, "a", 1).unwrap(), take(&turns, "a", 1).unwrap());
        let held = (a.try_recv().unwrap(), b.try_recv().unwrap());
        let mut third = take(&turns, "a", 1).unwrap();
        assert!(third.try_recv().is_err());
        assert_eq!(turns.waiting(), 1);
        drop(held.0);
        drop(third.try_recv().unwrap());
        assert_eq!(turns.waiting(), 0);
        assert!(take(&turns, "a", 1).unwrap().try_recv().is_ok());
    }

    #[test]
    fn callers_take_turns_however_much_one_asks_for() {
        let turns = Turns::new(1, 100);
        let held = take(&turns, "a", 0).unwrap().try_recv().unwrap();
        let much = (0..4).map(|_| ("much", take(&turns, "a", 1).unwrap()));
        let mut waiters: Vec<_> = much.collect();
        waiters.push(("little", take(&turns, "a", 2).unwrap()));
        let order = order(held, waiters);
        assert_eq!(order, ["much", "little", "much", "much", "much"]);
    }

    #[test]
    fn groups_take_turns_however_many_callers_one_has() {
        let turns = Turns::new(1, 100);
        let held = take(&turns, "a", 0).unwrap().try_recv().unwrap();
        let many = [1, 2, 3].map(|uid| ("of many", take(&turns, "a", uid).unwrap()));
        let mut waiters = Vec::from(many);
        waiters.push(("alone", take(&turns, "b", 1).unwrap()));
        waiters.push(("alone", take(&turns, "b", 1).unwrap()));
        let order = order(held, waiters);
        let expected = ["of many", "alone", "of many", "alone", "of many"];
        assert_eq!(order, expected);
    }

    #[test]
    fn one_caller_takes_no_more_than_half_of_the_places() {
        let turns = Turns::new(1, 4);
        let _held = take(&turns, "a", 0).unwrap().try_recv().unwrap();
        // Whatever groups it is for.
        let mut waiters = vec![take(&turns, "a", 1), take(&turns, "b", 1)];
        assert_eq!(take(&turns, "c", 1).unwrap_err(), Full);
        waiters.extend([take(&turns, "a", 2), take(&turns, "a", 3)]);
        assert!(waiters.iter().all(Result::is_ok));
        assert_eq!(take(&turns, "a", 4).unwrap_err(), Full);
        assert_eq!(turns.waiting(), 4);
    }

    #[test]
    fn it_does_not_matter_how_many_are_gone() {
        const GONE: usize = 100_000;
        let turns = Turns::new(1, 2 * GONE);
        let held = take(&turns, "a", 0).unwrap().try_recv().unwrap();
        for _ in 0..GONE {
            drop(take(&turns, "a", 1).unwrap());
        }
        let mut waits = take(&turns, "a", 2).unwrap();
        drop(held);
        drop(waits.try_recv().unwrap());
        assert_eq!(turns.waiting(), 0);
    }

    #[test]
    fn who_is_gone_keeps_nobody_out_while_the_turn_lasts() {
        let turns = Turns::new(1, 4);
        let _held = take(&turns, "a", 0).unwrap().try_recv().unwrap();
        let mut waiters = vec![take(&turns, "a", 1).unwrap(), take(&turns, "b", 1).unwrap()];
        assert_eq!(take(&turns, "a", 1).unwrap_err(), Full);
        drop(waiters.pop());
        waiters.push(take(&turns, "a", 1).unwrap());
        assert_eq!(turns.waiting(), 2);
        waiters.extend([take(&turns, "b", 2).unwrap(), take(&turns, "b", 2).unwrap()]);
        assert_eq!(take(&turns, "a", 3).unwrap_err(), Full);
        drop(waiters);
        let _waits = take(&turns, "a", 3).unwrap();
        assert_eq!(turns.waiting(), 1);
        let line = turns.lock();
        assert_eq!((line.of_callers.len(), line.groups.len()), (1, 1));
    }

    #[test]
    fn who_is_gone_costs_nobody_a_turn() {
        let turns = Turns::new(1, 4);
        let held = take(&turns, "a", 0).unwrap().try_recv().unwrap();
        drop(take(&turns, "a", 1).unwrap());
        let mut waits = take(&turns, "a", 1).unwrap();
        drop(held);
        let turn = waits.try_recv().unwrap();
        assert_eq!(turns.waiting(), 0);
        // One that was given and not taken, too.
        let given = take(&turns, "a", 1).unwrap();
        drop(turn);
        drop(given);
        assert!(take(&turns, "a", 1).unwrap().try_recv().is_ok());
        assert!(turns.lock().of_callers.is_empty() && turns.lock().groups.is_empty());
    }
}
