//! The tools that people make and read key material with, run in a folder of a site.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output},
};

use crate::{Site, skip::skip, text};

/// Where administrators' tools are, which are not on every user's path.
const MORE: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Whether all of `tools` are here. If not, `test` is skipped.
pub fn has(test: &str, tools: &[&str]) -> bool {
    let missing: Vec<_> = tools.iter().filter(|tool| find(tool).is_none()).collect();
    for tool in &missing {
        skip(test, tool);
    }
    missing.is_empty()
}

/// Where a tool is, if it is here.
pub fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default() + ":" + MORE;
    let mut places = env::split_paths(&path).map(|folder| folder.join(tool));
    places.find(|place| place.is_file())
}

/// A folder to run tools in.
#[derive(Debug)]
pub struct Bench(PathBuf);

impl Site {
    /// The folder `name` of this site, made if it is missing.
    pub fn bench(&self, name: &str) -> Bench {
        let folder = self.path(name);
        fs::create_dir_all(&folder).expect("a folder");
        Bench(folder)
    }
}

impl Bench {
    /// Where the file `name` is, or will be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The same as text, for a command line.
    pub fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file");
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A tool, yet to be given arguments and run.
    pub fn tool(&self, name: &str) -> Command {
        let mut tool = Command::new(find(name).unwrap_or_else(|| panic!("{name} is missing")));
        tool.current_dir(&self.0).env("LC_ALL", "C");
        tool
    }

    /// Runs a command of words separated by spaces.
    pub fn try_run(&self, command: &str) -> Output {
        let mut words = command.split_whitespace();
        let mut tool = self.tool(words.next().expect("a command"));
        tool.args(words).output().expect("it runs")
    }

    /// Runs a command of words separated by spaces, which must succeed; gives what it printed
    /// on its standard output.
    pub fn run(&self, command: &str) -> String {
        let output = self.try_run(command);
        assert!(output.status.success(), "{command}: {}", text(&output));
        String::from_utf8(output.stdout).expect("text")
    }
}
