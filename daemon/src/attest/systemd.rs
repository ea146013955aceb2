//! What the system's service manager says of its units, over D-Bus.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
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
/// How many answers are kept.
const KEPT: usize = 1024;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// The service manager, as far as the bus reaches it. Where there is no bus, nothing is
/// known.
///
/// A unit is asked for by the name that the control group has, which the kernel vouches
/// for. A process id would say no more, and may be another process's by then.
#[derive(Debug)]
pub(super) struct Systemd {
    bus: AsyncMutex<Option<Connection>>,
    places: Semaphore,
    kept: Mutex<Kept>,
}

/// Files by unit and run: what a running unit is defined in does not change.
#[derive(Debug, Default)]
struct Kept {
    fragments: HashMap<(String, String), String>,
    order: VecDeque<(String, String)>,
}

impl Default for Systemd {
    fn default() -> Self {
        Self {
            bus: AsyncMutex::default(),
            places: Semaphore::new(AT_ONCE),
            kept: Mutex::default(),
        }
    }
}

impl Systemd {
    /// The file that `unit` is defined in, if it is in the run called `invocation`.
    pub(super) async fn fragment(&self, unit: &str, invocation: Option<&str>) -> Option<String> {
        let key = invocation.map(|invocation| (unit.to_owned(), invocation.to_owned()));
        let known = key
            .as_ref()
            .and_then(|key| self.kept().fragments.get(key).cloned());
        if known.is_some() {
            return known;
        }
        let fragment = self.ask(|bus| async move {
            let path = bus.object("GetUnit", unit).await?;
            let run: Vec<u8> = bus.property(&path, UNIT, "InvocationID").await?;
            let same = invocation.is_none_or(|invocation| invocation == hex::encode(run));
            let fragment: String = bus.fragment(&path, unit).await?;
            Ok((same && !fragment.is_empty()).then_some(fragment))
        });
        let fragment = fragment.await??;
        if let Some(key) = key {
            self.kept().keep(key, fragment.clone());
        }
        Some(fragment)
    }

    /// The unit of this name, loaded if need be.
    pub(super) async fn unit(&self, name: &str) -> Option<UnitFacts> {
        self.ask(|bus| async move {
            let path = bus.object("LoadUnit", name).await?;
            let state: String = bus.property(&path, UNIT, "LoadState").await?;
            if state != "loaded" {
                return Ok(UnitFacts::default());
            }
            let run: Vec<u8> = bus.property(&path, UNIT, "InvocationID").await?;
            let service = name.ends_with(".service");
            Ok(UnitFacts {
                exists: true,
                invocation: (!run.is_empty()).then(|| hex::encode(run)),
                delegate: service && bus.property(&path, SERVICE, "Delegate").await?,
            })
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
    async fn object(&self, method: &str, unit: &str) -> zbus::Result<OwnedObjectPath> {
        let manager = "org.freedesktop.systemd1.Manager";
        let path = "/org/freedesktop/systemd1";
        let answer = self
            .0
            .call_method(Some(SYSTEMD), path, Some(manager), method, &unit);
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
