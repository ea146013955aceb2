//! What the system's service manager says of its units, over D-Bus.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    time::timeout,
};
use zbus::{Connection, OwnedObjectPath, OwnedVariant, connection::Builder, message::Message};

use super::surroundings::UnitFacts;

/// How long the bus may take for everything that one question needs.
const DEADLINE: Duration = Duration::from_secs(1);
/// Questions at a time.
const AT_ONCE: usize = 8;
/// Of them, those on account of one user.
const OF_ONE: usize = 2;
/// How long it is remembered that there was no answer.
const UNKNOWN: Duration = Duration::from_secs(2);
/// How many answers are kept.
const KEPT: usize = 1024;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SCOPE: &str = "org.freedesktop.systemd1.Scope";

/// The service manager, as far as the bus reaches it. Where there is no bus, nothing is
/// known.
///
/// A unit is asked for by the name that the control group has, which the kernel vouches
/// for. A process id would say no more, and may be another process's by then.
#[derive(Debug)]
pub(super) struct Systemd {
    bus: AsyncMutex<Option<Connection>>,
    places: Semaphore,
    users: Mutex<HashMap<u32, Weak<Semaphore>>>,
    kept: Mutex<Kept>,
}

/// Files by unit and run: what a running unit is defined in does not change.
#[derive(Debug, Default)]
struct Kept {
    fragments: HashMap<(String, String), String>,
    order: VecDeque<(String, String)>,
    /// Those about which there was no answer, and when.
    unknown: HashMap<(String, String), Instant>,
}

impl Default for Systemd {
    fn default() -> Self {
        Self {
            bus: AsyncMutex::default(),
            places: Semaphore::new(AT_ONCE),
            users: Mutex::default(),
            kept: Mutex::default(),
        }
    }
}

impl Systemd {
    /// The file that `unit` is defined in, if it is in the run called `invocation`; asked
    /// for on account of the user `uid`, who keeps no other waiting.
    pub(super) async fn fragment(
        &self,
        uid: u32,
        unit: &str,
        invocation: Option<&str>,
    ) -> Option<String> {
        let key = invocation.map(|invocation| (unit.to_owned(), invocation.to_owned()));
        let user = self.user(uid);
        let _turn = timeout(DEADLINE, user.acquire()).await.ok()?.ok()?;
        if let Some(known) = key.as_ref().and_then(|key| self.kept().known(key)) {
            return known;
        }
        let fragment = self.ask(|bus| async move {
            let path = bus.object("GetUnit", &unit).await?;
            let run: Vec<u8> = bus.property(&path, UNIT, "InvocationID").await?;
            let same = invocation.is_none_or(|invocation| invocation == hex::encode(run));
            let fragment: String = bus.fragment(&path, unit).await?;
            Ok((same && !fragment.is_empty()).then_some(fragment))
        });
        let fragment = fragment.await.flatten();
        if let Some(key) = key {
            match &fragment {
                Some(fragment) => self.kept().keep(key, fragment.clone()),
                None => self.kept().miss(key),
            }
        }
        fragment
    }

    /// As many turns as a user has at a time.
    fn user(&self, uid: u32) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = users.get(&uid).and_then(Weak::upgrade) {
            return turns;
        }
        users.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(OF_ONE));
        users.insert(uid, Arc::downgrade(&turns));
        turns
    }

    /// The unit of this name, loaded if need be.
    pub(super) async fn unit(&self, name: &str) -> Option<UnitFacts> {
        self.ask(|bus| async move {
            let path = bus.object("LoadUnit", &name).await?;
            bus.unit(&path).await
        })
        .await
    }

    /// The unit that is in the run called `invocation`, if any is.
    pub(super) async fn in_run(&self, invocation: &str) -> Option<UnitFacts> {
        let run = hex::decode(invocation).ok()?;
        self.ask(|bus| async move {
            let path = bus.object("GetUnitByInvocationID", &run).await?;
            bus.unit(&path).await
        })
        .await
    }

    async fn ask<T, F>(&self, question: impl FnOnce(Bus) -> F) -> Option<T>
    where
        F: Future<Output = zbus::Result<T>>,
    {
        let asked = async {
            let _place = self.places.acquire().await.ok()?;
            let bus = self.bus().await.ok()?;
            let answer = question(Bus(bus)).await;
            match &answer {
                Ok(_) => {}
                Err(zbus::Error::MethodError(name, _, _)) => {
                    tracing::debug!(%name, "the service manager does not say");
                }
                Err(error) => {
                    tracing::debug!(%error, "the bus failed, and is connected to anew");
                    drop(self.bus.lock().await.take());
                }
            }
            answer.ok()
        };
        timeout(DEADLINE, asked).await.ok()?
    }

    async fn bus(&self) -> zbus::Result<Connection> {
        let mut bus = self.bus.lock().await;
        if let Some(bus) = &*bus {
            return Ok(bus.clone());
        }
        let new = Builder::system().build().await?;
        *bus = Some(new.clone());
        Ok(new)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// What is known: perhaps that there was no answer a moment ago.
    fn known(&self, key: &(String, String)) -> Option<Option<String>> {
        let lately = |at: &Instant| at.elapsed() < UNKNOWN;
        match self.fragments.get(key) {
            Some(fragment) => Some(Some(fragment.clone())),
            None => self.unknown.get(key).is_some_and(lately).then_some(None),
        }
    }

    fn miss(&mut self, key: (String, String)) {
        self.unknown.retain(|_, at| at.elapsed() < UNKNOWN);
        self.unknown.insert(key, Instant::now());
    }

    fn keep(&mut self, key: (String, String), fragment: String) {
        if self.fragments.insert(key.clone(), fragment).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.fragments.remove(&oldest);
        }
    }
}

struct Bus(Connection);

impl Bus {
    /// The object that `method` finds a unit at, by what it takes.
    async fn object<T>(&self, method: &str, by: &T) -> zbus::Result<OwnedObjectPath>
    where
        T: serde::Serialize + zbus::DynamicType,
    {
        let manager = "org.freedesktop.systemd1.Manager";
        let path = "/org/freedesktop/systemd1";
        let answer = self
            .0
            .call_method(Some(SYSTEMD), path, Some(manager), method, by);
        body(&answer.await?)
    }

    async fn property<T: TryFrom<OwnedVariant>>(
        &self,
        path: &OwnedObjectPath,
        interface: &str,
        name: &str,
    ) -> zbus::Result<T> {
        let properties = "org.freedesktop.DBus.Properties";
        let wanted = (interface, name);
        let answer = self
            .0
            .call_method(Some(SYSTEMD), path, Some(properties), "Get", &wanted);
        let value: OwnedVariant = body(&answer.await?)?;
        let other = |_| zbus::Error::Failure(format!("{name} is of another type"));
        value.try_into().map_err(other)
    }

    async fn unit(&self, path: &OwnedObjectPath) -> zbus::Result<UnitFacts> {
        let state: String = self.property(path, UNIT, "LoadState").await?;
        if state != "loaded" {
            return Ok(UnitFacts::default());
        }
        let run: Vec<u8> = self.property(path, UNIT, "InvocationID").await?;
        let id: String = self.property(path, UNIT, "Id").await?;
        let delegates = match id.rsplit('.').next() {
            Some("service") => Some(SERVICE),
            Some("scope") => Some(SCOPE),
            _ => None,
        };
        Ok(UnitFacts {
            exists: true,
            invocation: (!run.is_empty()).then(|| hex::encode(run)),
            delegate: match delegates {
                Some(interface) => self.property(path, interface, "Delegate").await?,
                None => false,
            },
        })
    }

    /// The file that the unit is defined in, if it is the one of this name: one that has
    /// other names is found by those, too.
    async fn fragment(&self, path: &OwnedObjectPath, unit: &str) -> zbus::Result<String> {
        let id: String = self.property(path, UNIT, "Id").await?;
        if id != unit {
            return Ok(String::new());
        }
        self.property(path, UNIT, "FragmentPath").await
    }
}

fn body<T>(message: &Message) -> zbus::Result<T>
where
    T: for<'de> serde::Deserialize<'de> + zbus::Type,
{
    message.body().deserialize_ignore_signature()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_whose_questions_are_not_answered_keeps_no_other_waiting() {
        let systemd = Systemd::default();
        let (first, other) = (systemd.user(1), systemd.user(2));
        let taken: Vec<_> = (0..OF_ONE).map(|_| first.try_acquire().unwrap()).collect();
        assert!(systemd.user(1).try_acquire().is_err());
        assert!(other.try_acquire().is_ok());
        drop(taken);
        drop((first, other));
        // Nobody is remembered who asks nothing.
        drop(systemd.user(3));
        assert_eq!(systemd.users.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_known_of_a_run_is_not_asked_again_at_once() {
        let mut kept = Kept::default();
        let key = |unit: &str| (unit.to_owned(), "0".repeat(32));
        assert_eq!(kept.known(&key("a.service")), None);
        kept.miss(key("a.service"));
        assert_eq!(kept.known(&key("a.service")), Some(None));
        assert_eq!(kept.known(&key("b.service")), None);
        kept.keep(key("a.service"), "/a".to_owned());
        assert_eq!(kept.known(&key("a.service")), Some(Some("/a".to_owned())));
        let long_ago = Instant::now().checked_sub(UNKNOWN).unwrap();
        kept.unknown.insert(key("b.service"), long_ago);
        assert_eq!(kept.known(&key("b.service")), None);
    }
}
