//! The real nginx, as whoever runs the test, with all that it needs in a folder.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Stdio},
};

use softhsm_tests::{tool::Bench, until};

/// An nginx that serves TLS at a Unix socket, and says of each request who made it. Killed
/// when dropped.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Nginx {
    /// Starts it with these settings of its server, whose files are in `bench`.
    pub(crate) fn serve(bench: &Bench, settings: &str) -> Self {
        let socket = bench.path("nginx.sock");
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path temporary;\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid nginx.pid;\n\
             events {{ }}\n\
             http {{ access_log off;\n{paths}\
             server {{ listen unix:{} ssl;\n{settings}\n\
             location / {{ return 200 \"hello $ssl_client_s_dn\"; }} }} }}\n",
            socket.display()
        );
        bench.write("nginx.conf", config);
        let log = fs::File::create(bench.path("nginx.log")).unwrap();
        let mut child = bench
            .tool("nginx")
            .args(["-e", "stderr", "-c"])
            .arg(bench.path("nginx.conf"))
            .arg("-p")
            .arg(bench.path("."))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        until("nginx serves", || {
            let ended = child.try_wait().unwrap();
            let log = || String::from_utf8_lossy(&bench.read("nginx.log")).into_owned();
            assert!(ended.is_none(), "nginx ended: {}", log());
            UnixStream::connect(&socket).ok().map(drop)
        });
        Self { child, socket }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
