//! What a site's daemon tells monitoring.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use crate::Site;

impl Site {
    /// Has the configuration, as it is, tell metrics.
    pub fn measure(&self) {
        let file = OpenOptions::new()
            .append(true)
            .open(self.path("custodyd.toml"));
        let socket = self.metrics_socket();
        writeln!(file.unwrap(), "[metrics]\nsocket = {socket:?}").unwrap();
    }

    /// Where they are told.
    pub fn metrics_socket(&self) -> PathBuf {
        self.path("run/metrics.sock")
    }

    /// Sends a request there as it is; gives the answer's head and body.
    pub fn ask_metrics(&self, request: &str) -> (String, String) {
        let mut stream = UnixStream::connect(self.metrics_socket()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Each sample by its name and labels.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let (head, body) = self.ask_metrics("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        samples.map(sample).collect()
    }

    /// What was counted of the token called `serial`, as `custodyd_token_NAME_total`.
    pub fn counted_of(&self, serial: &str, name: &str) -> f64 {
        let sample = format!("custodyd_token_{name}_total{{token={serial:?}}}");
        self.metrics().get(&sample).copied().unwrap_or(0.0)
    }
}
