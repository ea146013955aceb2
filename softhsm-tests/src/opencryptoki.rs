//! openCryptoki's soft tokens, in mount and IPC namespaces of their own: its daemon, its module
//! and all that uses that find them at paths of the machine and in shared memory.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use faulty_pkcs11::{CONTROL, Control};
use jiff::Timestamp;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    unistd::getuid,
};

use crate::{PIN, fault::write_control, kind::SO_PIN, text, tool::find, until};

/// The serial number that openCryptoki says of every token.
const SERIAL: &str = "123";

/// What its tokens lack of what tests ask for by name.
pub(crate) const LACKS: &[&str] = &[
    "a module that wipes what it opened in the worker",
    "a token that another user reaches",
    "AES key wrap",
    "aes-256-gcm",
    "codes for altered data",
    "deliveries without C_Sign",
    "tokens that differ in their serial numbers",
];

/// How many tokens there may be, one in a slot.
const TOKENS: usize = 4;

/// The PIN of a security officer as it comes, and a PIN of a user until the user changes it.
const FACTORY_SO_PIN: &str = "87654321";
const FIRST_PIN: &str = "0000aaaa";

/// The daemon of one site's tokens, and where it is; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct OpenCryptoki {
    slots: Child,
    mounts: File,
    ipc: File,
    tokens: AtomicUsize,
}

impl OpenCryptoki {
    /// Takes this thread, and what it starts from now on, to namespaces of their own, and starts
    /// the daemon there. The tokens are to be in `tokens` of `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        assert!(getuid().is_root(), "openCryptoki's namespaces take root");
        let own = folder.join("opencryptoki");
        lay_out(&own, &folder.join("tokens"));
        write_control(&clock(folder), |_| {});
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC).expect("namespaces");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        for (name, place) in [
            ("etc", "/etc/opencryptoki"),
            ("lib", "/var/lib/opencryptoki"),
            ("run", "/run"),
        ] {
            // Another site of this thread may have left a folder there that is gone, on which nothing
            // can be mounted.
            let _nothing = umount2(place, MntFlags::MNT_DETACH);
            let from = own.join(name);
            mount(
                Some(&from),
                place,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        let memory = Some("tmpfs");
        mount(memory, "/dev/shm", memory, MsFlags::empty(), None::<&str>).expect("memory to share");
        // A test that is killed takes it along.
        let slots = Command::new(tool("setpriv"))
            .args(["--pdeathsig", "KILL"])
            .arg(tool("pkcsslotd"))
            .arg("-f")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pkcsslotd runs");
        let here = |kind| File::open(namespace(kind)).expect("a namespace");
        let started = Self {
            slots,
            mounts: here("mnt"),
            ipc: here("ipc"),
            tokens: AtomicUsize::new(0),
        };
        until("there are slots", || {
            let output = Command::new(tool("pkcsconf")).arg("-s").output();
            output
                .expect("pkcsconf runs")
                .status
                .success()
                .then_some(())
        });
        started
    }

    /// Takes this thread to where the tokens are, if it is where another site's are.
    pub(crate) fn enter(&self) {
        // By what is shared, since a test may have mounts of its own on top.
        let is_here = inode(&fs::metadata(namespace("ipc"))) == inode(&self.ipc.metadata());
        if is_here {
            return;
        }
        let folder = env::current_dir().expect("a folder");
        // Threads that it started share its root with it until then.
        unshare(CloneFlags::CLONE_FS).expect("a root of its own");
        setns(&self.mounts, CloneFlags::CLONE_NEWNS).expect("the site's mounts");
        setns(&self.ipc, CloneFlags::CLONE_NEWIPC).expect("the site's memory");
        env::set_current_dir(folder).expect("the folder is there, too");
    }

    /// Makes one more token; says its serial number, which is that of the others, too.
    pub(crate) fn add_token(&self, label: &str) -> String {
        self.enter();
        let slot = self.tokens.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(slot <= TOKENS, "there are {TOKENS} slots");
        // Each PIN must be changed by whom it is for.
        configure(slot, label, &["-I", "-S", FACTORY_SO_PIN]);
        configure(slot, "", &["-P", "-S", FACTORY_SO_PIN, "-n", SO_PIN]);
        configure(slot, "", &["-u", "-S", SO_PIN, "-n", FIRST_PIN]);
        configure(slot, "", &["-p", "-U", FIRST_PIN, "-n", PIN]);
        SERIAL.to_owned()
    }

    /// Where the module is.
    pub(crate) fn module() -> PathBuf {
        let architecture = env::consts::ARCH;
        let folders = [
            format!("/usr/lib/{architecture}-linux-gnu/opencryptoki"),
            "/usr/lib64/opencryptoki".to_owned(),
        ];
        let mut places = folders
            .iter()
            .map(|folder| Path::new(folder).join("libopencryptoki.so.0"));
        let found = places.find(|place| place.is_file());
        found.expect("openCryptoki is installed, or TEST_PKCS11_MODULE names its module")
    }

    /// What the module that stands before openCryptoki's is told by: to tell the time.
    pub(crate) fn environment(folder: &Path) -> (&'static str, String) {
        (CONTROL, clock(folder).display().to_string())
    }

    /// Has a token tell the time as the standard has it, which openCryptoki 3.8 does not.
    pub(crate) fn tell_time(control: &mut Control) {
        let time = Timestamp::now().strftime("%Y%m%d%H%M%S00");
        control.token.clock = Some(time.to_string());
    }
}

impl Drop for OpenCryptoki {
    fn drop(&mut self) {
        // It waits for whoever uses it when it is asked to end.
        drop(self.slots.kill());
        drop(self.slots.wait());
    }
}

/// What openCryptoki finds in the place of the machine's, with a slot for each token.
fn lay_out(own: &Path, tokens: &Path) {
    let make = |folder: &Path| fs::create_dir_all(folder).expect("a folder");
    for name in ["etc", "lib", "run"] {
        make(&own.join(name));
    }
    let mut slots = "version opencryptoki-3.1\n".to_owned();
    for slot in 1..=TOKENS {
        let name = format!("token{slot}");
        make(&tokens.join(&name).join("TOK_OBJ"));
        make(&own.join("run/lock/opencryptoki").join(&name));
        // A test takes the tokens away, which it could not from under a mount.
        symlink(tokens.join(&name), own.join("lib").join(&name)).expect("a link");
        slots += &format!("slot {slot}\n{{\nstdll = libpkcs11_sw.so\ntokname = {name}\n}}\n");
    }
    fs::write(own.join("etc/opencryptoki.conf"), slots).expect("written");
}

/// Has `pkcsconf` do something to a token; it asks for a label.
fn configure(slot: usize, label: &str, arguments: &[&str]) {
    let mut child = Command::new(tool("pkcsconf"))
        .args(["-c", &slot.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pkcsconf runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may have ended without asking.
    drop(writeln!(stdin, "{label}"));
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output));
}

fn tool(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed"))
}

fn clock(folder: &Path) -> PathBuf {
    folder.join("clock.toml")
}

fn namespace(kind: &str) -> String {
    format!("/proc/thread-self/ns/{kind}")
}

fn inode(metadata: &std::io::Result<fs::Metadata>) -> u64 {
    metadata.as_ref().expect("a namespace").ino()
}
