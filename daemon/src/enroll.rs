//! `custodyd hsm enroll`: finds a token, has it examined, and writes its names down.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use hsm::{TokenDescription, doctor::Outcome};
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};

use crate::{
    cli::say,
    config::{self, Config},
    doctor::{self, quiet},
    harden, log,
    run::Failure,
};

/// What a new configuration is made of, with a comment on every setting.
const EXAMPLE: &str = include_str!("../../systemd/custodyd.toml");

/// The arguments of `hsm enroll`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The vendor's PKCS#11 library; that of the configuration when missing.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// The token's label, if the module offers several.
    #[arg(long)]
    label: Option<String>,
    /// The token's serial number, if several have the label.
    #[arg(long)]
    serial: Option<String>,
    /// Where the daemon gets the PIN from.
    #[arg(long, value_name = "credential=NAME|file=PATH|prompt")]
    pin: Option<Pin>,
    /// Ask for the PIN on the terminal now, wherever the daemon gets it from.
    #[arg(long)]
    ask_pin: bool,
    /// Environment of the library, in place of what the configuration has. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<(String, String)>,
    /// The daemon's state directory.
    #[arg(long, value_name = "DIR")]
    state_directory: Option<PathBuf>,
    /// The configuration to write.
    #[arg(long, value_name = "FILE", default_value = crate::cli::CONFIG)]
    config: PathBuf,
    /// Put the token into a configuration that is there already. Everything else in it stays.
    #[arg(long)]
    force: bool,
    /// Put the token beside those in the configuration, so that groups can be held by both.
    #[arg(long, conflicts_with = "force")]
    another: bool,
    /// Write nothing: print the section `[token]`, and the findings to standard error.
    #[arg(long)]
    print: bool,
}

/// A PIN's source, as a configuration has it.
#[derive(Clone, Debug)]
enum Pin {
    Credential(String),
    File(String),
    Prompt,
}

impl std::str::FromStr for Pin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some(("credential", name)) => Ok(Self::Credential(name.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.to_owned())),
            None if text == "prompt" => Ok(Self::Prompt),
            _ => Err("want credential=NAME, file=PATH or prompt"),
        }
    }
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("want NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Why no token was enrolled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} is not TOML", .0.display())]
    Toml(PathBuf, #[source] toml_edit::TomlError),
    #[error("name the vendor's PKCS#11 library with --module")]
    NoModule,
    #[error("the module offers no such token; it offers: {}", listed(.0))]
    NoToken(Vec<TokenDescription>),
    #[error("the module offers several tokens, so name one by --label and --serial: {}", listed(.0))]
    SeveralTokens(Vec<TokenDescription>),
    #[error("{} is there already, and nothing was changed: --force puts the section above into it", .0.display())]
    Exists(PathBuf),
}

fn listed(tokens: &[TokenDescription]) -> String {
    let tokens: Vec<_> = tokens.iter().map(ToString::to_string).collect();
    match tokens.is_empty() {
        true => "none".to_owned(),
        false => tokens.join("; "),
    }
}

/// Finds the token, examines it, and writes it down if it is one to be used.
pub(crate) fn enroll(options: &Options) -> Result<(), Failure> {
    log::install(log::Format::default(), log::Level::Error);
    harden::shield();
    let mut draft = Draft::begin(options)?;
    let survey = hsm::doctor::survey(&quiet(draft.config()?.worker(draft.nth)));
    if survey.outcome() == Outcome::Refused {
        tell(&doctor::table(&survey), options);
        return Err(Failure::Unfit);
    }
    let chosen = choose(&survey.offered, options);
    draft.name(chosen.inspect_err(|_| tell(doctor::lines(&survey).trim_end(), options))?);
    let report = doctor::examine(&draft.config()?, draft.nth, options.ask_pin);
    tell(&doctor::table(&report), options);
    if report.outcome() == Outcome::Refused {
        return Err(Failure::Unfit);
    }
    if options.print {
        say(draft.stanza().trim_end());
        return Ok(());
    }
    if draft.exists && !options.force && !options.another {
        say(&format!("\n{}", draft.stanza()));
        return Err(Error::Exists(draft.path).into());
    }
    draft.write()?;
    let path = draft.path.display();
    let next = match options.another {
        true => "restart custodyd, and have it hold groups: custodyctl group hold".to_owned(),
        false => format!("custodyd init --crypto-officer SELECTOR {path}"),
    };
    say(&format!("\nWritten to {path}. Next: {next}"));
    Ok(())
}

fn tell(table: &str, options: &Options) {
    if options.print {
        // Nobody may be listening; that is no reason to fail.
        drop(writeln!(io::stderr().lock(), "{table}\n"));
    } else {
        say(table);
    }
}

/// The one token that is meant; never one of several.
fn choose(offered: &[TokenDescription], options: &Options) -> Result<TokenDescription, Error> {
    let is = |wanted: &Option<String>, found: &str| {
        let wanted = wanted.as_deref();
        wanted.is_none_or(|wanted| wanted.trim() == found)
    };
    let meant = offered
        .iter()
        .filter(|token| is(&options.label, &token.label) && is(&options.serial, &token.serial));
    match meant.cloned().collect::<Vec<_>>() {
        meant if meant.is_empty() => Err(Error::NoToken(offered.to_vec())),
        mut meant if meant.len() == 1 => Ok(meant.remove(0)),
        several => Err(Error::SeveralTokens(several)),
    }
}

/// A configuration that is being written.
struct Draft {
    path: PathBuf,
    exists: bool,
    document: DocumentMut,
    /// Which of its tokens it is about.
    nth: usize,
}

impl Draft {
    fn begin(options: &Options) -> Result<Self, Failure> {
        let path = options.config.clone();
        let (text, exists) = match fs::read_to_string(&path) {
            Ok(text) => (text, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (EXAMPLE.to_owned(), false),
            Err(error) => return Err(unusable("read", &path)(error)),
        };
        let document = text.parse();
        let mut draft = Self {
            document: document.map_err(|error| Error::Toml(path.clone(), error))?,
            path,
            exists,
            nth: 0,
        };
        if options.module.is_none() && !exists {
            return Err(Error::NoModule.into());
        }
        if options.another {
            draft.add();
        }
        draft.set(options);
        Ok(draft)
    }

    /// Makes room for one more token.
    fn add(&mut self) {
        let tokens = self.document.remove("token").unwrap_or_default();
        let mut tokens = match tokens {
            Item::ArrayOfTables(tokens) => tokens,
            Item::Table(first) => ArrayOfTables::from_iter([first]),
            _ => ArrayOfTables::new(),
        };
        self.nth = tokens.len();
        // The library and its environment are as those of the first, unless they are said.
        let mut another = Table::new();
        for key in ["module", "environment"] {
            if let Some(found) = tokens.get(0).and_then(|first| first.get(key)) {
                another[key] = found.clone();
            }
        }
        tokens.push(another);
        self.document["token"] = Item::ArrayOfTables(tokens);
    }

    fn token(&mut self) -> &mut Table {
        let token = self.document.entry("token");
        let token = token.or_insert_with(|| Item::Table(Table::new()));
        if let Item::ArrayOfTables(tokens) = token {
            return tokens.get_mut(self.nth).expect("it is one of them");
        }
        if !token.is_table() {
            *token = Item::Table(Table::new());
        }
        token.as_table_mut().expect("it was made one")
    }

    fn set(&mut self, options: &Options) {
        if let Some(directory) = &options.state_directory {
            self.document["state-directory"] = value(text(directory));
        }
        let token = self.token();
        if let Some(module) = &options.module {
            let module = std::path::absolute(module).unwrap_or_else(|_| module.clone());
            token["module"] = value(text(&module));
            // Another module wants another environment.
            token["environment"] = value(InlineTable::new());
        }
        if !options.environment.is_empty() {
            token["environment"] =
                value(options.environment.iter().cloned().collect::<InlineTable>());
        }
        if let Some(pin) = &options.pin {
            token["pin"] = match pin {
                Pin::Credential(name) => value(InlineTable::from_iter([("credential", name)])),
                Pin::File(path) => value(InlineTable::from_iter([("file", path)])),
                Pin::Prompt => value("prompt"),
            };
        }
        // Until it is known which token.
        self.name(TokenDescription {
            label: String::new(),
            serial: String::new(),
            manufacturer: String::new(),
            model: String::new(),
            module: PathBuf::new(),
        });
    }

    fn name(&mut self, chosen: TokenDescription) {
        let token = self.token();
        token.remove("uri");
        token["label"] = value(chosen.label);
        token["serial"] = value(chosen.serial);
    }

    fn config(&self) -> Result<Config, Failure> {
        Ok(config::parse(&self.document.to_string(), &self.path)?)
    }

    /// The section alone, without the example's comments.
    fn stanza(&mut self) -> String {
        let mut stanza = Table::new();
        for key in ["module", "label", "serial", "pin", "environment"] {
            if let Some(found) = self.token().get(key).and_then(Item::as_value) {
                stanza[key] = value(found.clone().decorated(" ", ""));
            }
        }
        let mut document = DocumentMut::new();
        document["token"] = match self.document.get("token") {
            Some(Item::ArrayOfTables(_)) => Item::ArrayOfTables(ArrayOfTables::from_iter([stanza])),
            _ => Item::Table(stanza),
        };
        document.to_string()
    }

    /// Replaces the file as a whole, and leaves it whose it is and as open as it is.
    fn write(&self) -> Result<(), Failure> {
        let failed = |what| unusable(what, &self.path);
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut file = tempfile::Builder::new()
            .prefix(".custodyd.toml.")
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .map_err(failed("written"))?;
        let mode = match self.path.metadata() {
            Ok(found) => {
                let owner = (Some(found.uid()), Some(found.gid()));
                std::os::unix::fs::fchown(&file, owner.0, owner.1)
                    .map_err(failed("given its owner"))?;
                found.mode() & 0o755
            }
            // There is no secret in it.
            Err(_) => 0o644,
        };
        file.write_all(self.document.to_string().as_bytes())
            .and_then(|()| file.as_file().set_permissions(Permissions::from_mode(mode)))
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed("written"))?;
        match self.exists {
            true => file.persist(&self.path).map(drop),
            // Nor has somebody else made it meanwhile.
            false => file.persist_noclobber(&self.path).map(drop),
        }
        .map_err(|error| failed("put in its place")(error.error))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn unusable<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Failure + use<'a> {
    move |source| Failure::Folder {
        what,
        path: path.to_owned(),
        source,
    }
}
