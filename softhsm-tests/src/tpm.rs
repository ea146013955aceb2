//! A TPM 2.0 in software, and the processes between it and its PKCS#11 module.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{PIN, kind::SO_PIN, text, tool::find, until};

/// The serial number that tpm2-pkcs11 says of every token.
const SERIAL: &str = "0000000000000000";

/// How the module and its tools reach the TPM.
const TCTI: &str = "tabrmd:bus_type=session";

/// What it lacks of what tests ask for by name.
pub(crate) const LACKS: &[&str] = &[
    "C_GenerateKey",
    "C_WrapKey",
    "a login that is over in no time",
    "a module that wipes what it opened in the worker",
    "a token that another user reaches",
    "AES key wrap",
    "AES keys",
    "aes-256-cbc-hmac-sha256",
    "aes-256-gcm",
    "keys that are made within a second",
    "many answers at once",
    "master keys that are no pairs",
    "master keys that encrypt in the token",
    "several tokens of one label",
    "tokens that differ in their serial numbers",
];

/// A TPM, a bus of its own, and the resource manager on that; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Tpm {
    processes: Vec<Child>,
}

impl Tpm {
    /// Starts one in `folder`, where there is a folder for the store of its tokens.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut tpm = Self {
            processes: Vec::new(),
        };
        let path = |name: &str| folder.join(name).display().to_string();
        fs::create_dir(folder.join("tpm")).expect("a folder");
        let socket = path("tpm.sock");
        tpm.run(
            "swtpm",
            &[
                "socket",
                "--tpm2",
                "--tpmstate",
                &format!("dir={}", path("tpm")),
                "--server",
                &format!("type=unixio,path={socket},disconnect"),
                "--ctrl",
                &format!("type=unixio,path={socket}.ctrl"),
                "--flags",
                "not-need-init,startup-clear",
                "--log",
                &format!("file={}", path("tpm.log")),
            ],
            folder,
        );
        let bus = format!("--address={}", bus(folder));
        let bus = ["--session", "--nofork", "--nopidfile", &bus];
        tpm.run("dbus-daemon", &bus, folder);
        until("there are a bus and a TPM", || {
            let mut sockets = ["bus", "tpm.sock", "tpm.sock.ctrl"].iter();
            sockets.all(|name| folder.join(name).exists()).then_some(())
        });
        tpm.run(
            "tpm2-abrmd",
            &[
                "--allow-root",
                "--session",
                &format!("--tcti=swtpm:path={socket}"),
                "--max-transients=100",
            ],
            folder,
        );
        until("the TPM can be used", || {
            let output = ptool(folder, "init").output().expect("tpm2_ptool runs");
            output.status.success().then_some(())
        });
        tpm
    }

    /// Makes one more token; says its serial number, which is that of the others, too.
    pub(crate) fn add_token(&self, folder: &Path, label: &str) -> String {
        let output = ptool(folder, "addtoken")
            .args(["--pid", "1", "--label", label])
            .args(["--sopin", SO_PIN, "--userpin", PIN])
            .output()
            .expect("tpm2_ptool runs");
        assert!(output.status.success(), "{}", text(&output));
        SERIAL.to_owned()
    }

    /// Where the module is.
    pub(crate) fn module() -> PathBuf {
        let architecture = std::env::consts::ARCH;
        let folders = [
            format!("/usr/lib/{architecture}-linux-gnu/pkcs11"),
            "/usr/lib64/pkcs11".to_owned(),
        ];
        let mut places = folders
            .iter()
            .map(|folder| Path::new(folder).join("libtpm2_pkcs11.so"));
        let found = places.find(|place| place.is_file());
        found.expect("tpm2-pkcs11 is installed, or TEST_PKCS11_MODULE names its module")
    }

    /// What the module and its tools are told by.
    pub(crate) fn environment(folder: &Path) -> [(&'static str, String); 3] {
        [
            ("DBUS_SESSION_BUS_ADDRESS", bus(folder)),
            ("TPM2_PKCS11_TCTI", TCTI.to_owned()),
            ("TPM2_PKCS11_STORE", store(folder).display().to_string()),
        ]
    }

    fn run(&mut self, program: &str, arguments: &[&str], folder: &Path) {
        let program = find(program).unwrap_or_else(|| panic!("{program} is not installed"));
        let child = Command::new(&program)
            .args(arguments)
            .envs(Self::environment(folder))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        self.processes.push(child);
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        for mut process in self.processes.drain(..).rev() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

fn bus(folder: &Path) -> String {
    format!("unix:path={}", folder.join("bus").display())
}

fn store(folder: &Path) -> PathBuf {
    folder.join("tokens")
}

/// `tpm2_ptool COMMAND` on the store, yet to be given more arguments and run.
fn ptool(folder: &Path, command: &str) -> Command {
    let mut ptool = Command::new("tpm2_ptool");
    ptool
        .args([command, "--path"])
        .arg(store(folder))
        .envs(Tpm::environment(folder))
        .env("TPM2TOOLS_TCTI", TCTI)
        .stdin(Stdio::null());
    ptool
}
