//! Callers that call as fast as they are answered, and how long each call took.

use std::{
    cell::Cell,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use client::Provider;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::{
    empty,
    installation::{content, group_name, secret_name},
    settings::{Part, Settings},
};

/// Calls at the beginning that are not counted.
const WARM_UP: Duration = Duration::from_millis(200);

/// Calls, and the time in which they were made.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Nanoseconds.
    latencies: Histogram<u64>,
    time: Duration,
}

impl Measured {
    pub(crate) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Self {
            latencies: latencies.expect("sensible bounds"),
            time: Duration::ZERO,
        }
    }

    pub(crate) fn call(&mut self, latency: Duration) {
        let latency = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(latency);
    }

    pub(crate) fn lasted(&mut self, time: Duration) {
        self.time = time;
    }

    /// Adds what was measured at the same time.
    pub(crate) fn beside(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("same bounds");
        self.time = self.time.max(other.time);
    }

    /// Adds what was measured later.
    fn after(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("same bounds");
        self.time += other.time;
    }

    /// Calls per second.
    pub(crate) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
        let calls = self.latencies.len() as f64;
        calls / self.time.as_secs_f64()
    }

    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(quantile))
    }

    /// For another process, which reads it by [`Self::from_line`].
    pub(crate) fn to_line(&self) -> String {
        let counts: Vec<String> = self
            .latencies
            .iter_recorded()
            .map(|step| format!("{}:{}", step.value_iterated_to(), step.count_at_value()))
            .collect();
        format!("{} {}", self.time.as_nanos(), counts.join(" "))
    }

    pub(crate) fn from_line(line: &str) -> Self {
        let mut measured = Self::new();
        let mut words = line.split(' ');
        measured.time = Duration::from_nanos(words.next().unwrap().parse().unwrap());
        for word in words {
            let (value, count) = word.split_once(':').unwrap();
            let (value, count) = (value.parse().unwrap(), count.parse().unwrap());
            measured.latencies.record_n(value, count).unwrap();
        }
        measured
    }
}

/// What is called.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// The server that does nothing.
    Empty(PathBuf),
    /// One of so many secrets of one of so many groups, at random.
    Fetch {
        socket: PathBuf,
        groups: u32,
        secrets: u32,
    },
}

/// How calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) callers: usize,
    pub(crate) connections: usize,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) part: Part,
    pub(crate) shape: Shape,
    pub(crate) measured: Measured,
}

/// Each target by one caller, and by more, over one connection and one for each.
pub(crate) async fn in_turns(settings: &Settings, targets: &[(Part, Target)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (part, target) in targets {
        for &callers in &settings.callers {
            for connections in if callers == 1 {
                vec![1]
            } else {
                vec![1, callers]
            } {
                let shape = Shape {
                    callers,
                    connections,
                };
                rows.push((
                    Row {
                        part: *part,
                        shape,
                        measured: Measured::new(),
                    },
                    target,
                ));
            }
        }
    }
    for _ in 0..settings.rounds {
        for (row, target) in &mut rows {
            let measured = drive(target, row.shape, settings.time).await;
            row.measured.after(&measured);
        }
    }
    rows.into_iter().map(|(row, _)| row).collect()
}

/// Has callers call for so long.
pub(crate) async fn drive(target: &Target, shape: Shape, time: Duration) -> Measured {
    drive_through(target, shape, tokio::time::sleep(time))
        .await
        .0
}

/// Has callers call from before `meanwhile` begins until it is over.
pub(crate) async fn drive_through<T>(
    target: &Target,
    shape: Shape,
    meanwhile: impl Future<Output = T>,
) -> (Measured, T) {
    let (Target::Empty(socket) | Target::Fetch { socket, .. }) = target;
    let mut connections = Vec::new();
    for _ in 0..shape.connections {
        connections.push(Provider::connect(socket).await.unwrap());
    }
    let phase = Arc::new(Phase::default());
    let mut callers = JoinSet::new();
    for number in 0..shape.callers {
        let caller = Caller {
            connection: connections[number % shape.connections].clone(),
            target: target.clone(),
            random: number as u64,
        };
        callers.spawn(caller.call_through(Arc::clone(&phase)));
    }
    tokio::time::sleep(WARM_UP).await;
    let start = Instant::now();
    phase.counts.store(true, Ordering::Relaxed);
    let output = meanwhile.await;
    phase.counts.store(false, Ordering::Relaxed);
    phase.is_over.store(true, Ordering::Relaxed);
    let time = start.elapsed();
    let mut all = Measured::new();
    while let Some(one) = callers.join_next().await {
        all.beside(&one.unwrap());
    }
    all.lasted(time);
    (all, output)
}

/// Has callers call for so long, while `look` is done again and again; says how both went.
pub(crate) async fn drive_beside(
    target: &Target,
    shape: Shape,
    time: Duration,
    look: impl AsyncFn(),
) -> (Measured, Measured) {
    let over = Cell::new(false);
    let calls = async {
        let calls = drive(target, shape, time).await;
        over.set(true);
        calls
    };
    let looks = async {
        let mut looks = Measured::new();
        let start = Instant::now();
        while !over.get() {
            let from = Instant::now();
            look().await;
            looks.call(from.elapsed());
        }
        looks.lasted(start.elapsed());
        looks
    };
    tokio::join!(calls, looks)
}

/// Fetches a secret, which has the content that it was put with.
pub(crate) async fn fetch(provider: &Provider, group: &str, number: u32) {
    let fetched = provider.fetch(group, &secret_name(number), None).await;
    let fetched = fetched.expect("a fetch");
    assert!(fetched.fields[0].1[..] == content(number), "{number}");
}

struct Caller {
    connection: Provider,
    target: Target,
    random: u64,
}

/// What callers are to know of the measurement.
#[derive(Default)]
struct Phase {
    counts: AtomicBool,
    is_over: AtomicBool,
}

impl Phase {
    fn counts(&self) -> bool {
        self.counts.load(Ordering::Relaxed)
    }
}

impl Caller {
    /// Calls, one after the other, and counts those that begin and end while calls count.
    async fn call_through(mut self, phase: Arc<Phase>) -> Measured {
        let mut measured = Measured::new();
        while !phase.is_over.load(Ordering::Relaxed) {
            let (counts, from) = (phase.counts(), Instant::now());
            self.call().await;
            if counts && phase.counts() {
                measured.call(from.elapsed());
            }
        }
        measured
    }

    async fn call(&mut self) {
        match self.target {
            Target::Empty(_) => empty::call(&self.connection).await,
            Target::Fetch {
                groups, secrets, ..
            } => {
                let group = group_name(self.pick(groups));
                let number = self.pick(secrets);
                fetch(&self.connection, &group, number).await;
            }
        }
    }

    /// SplitMix64: which secret is next need not be secret.
    fn pick(&mut self, of: u32) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(of)).expect("less than a u32")
    }
}
