//! Reads fields from the environment and one TOML file, and collects every mistake.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use super::{Field, Secret};

/// Most bytes of a settings file or of a file named by `<env>_FILE`.
const FILE_BYTES: u64 = 1024 * 1024;

/// Every mistake of one start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct SettingsError(pub Vec<String>);

fn lines(mistakes: &[String]) -> String {
    let noun = if mistakes.len() == 1 { "1 mistake" } else { &format!("{} mistakes", mistakes.len()) };
    let mut text = format!("{noun} in the settings; next: correct and check with --check-config");
    for mistake in mistakes {
        text.push_str("\n  - ");
        text.push_str(mistake);
    }
    text
}

/// Answers each field with its value. After a mistake it answers with a harmless stand-in and goes on, so that one start
/// shows all mistakes; [`Reader::finish`] then refuses.
#[derive(Debug)]
pub struct Reader {
    env: HashMap<String, String>,
    file: BTreeMap<String, String>,
    asked: Vec<Field>,
    addresses: HashMap<&'static str, SocketAddr>,
    mistakes: Vec<String>,
}

impl Reader {
    /// A reader over this environment and the text of a TOML file.
    pub fn new(env: impl IntoIterator<Item = (String, String)>, toml: Option<&str>) -> Self {
        let mut reader = Self {
            // An empty variable counts as not given: compose files pass unset ones on as empty.
            env: env.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            file: BTreeMap::new(),
            asked: Vec::new(),
            addresses: HashMap::new(),
            mistakes: Vec::new(),
        };
        if let Some(toml) = toml {
            reader.take_file(toml);
        }
        reader
    }

    /// A reader over the process' environment and, if given, the file.
    pub fn of_process(config: Option<&Path>) -> Self {
        // Variables that are no text cannot be settings of ours.
        let env =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        match config.map(read_limited) {
            None => Self::new(env, None),
            Some(Ok(text)) => Self::new(env, Some(&text)),
            Some(Err(mistake)) => {
                let mut reader = Self::new(env, None);
                reader.mistakes.push(mistake);
                reader
            }
        }
    }

    fn take_file(&mut self, text: &str) {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                // The message without the excerpt: the line may hold a secret.
                self.mistakes.push(format!("the settings file is no TOML: {}", error.message()));
                return;
            }
        };
        for (name, value) in table {
            match as_text(&value) {
                Some(text) => {
                    self.file.insert(name, text);
                }
                None => self.mistakes.push(format!(
                    "{name} in the settings file is neither text, number, true/false nor a list of texts"
                )),
            }
        }
    }

    /// The raw value, if given.
    fn raw(&mut self, field: &Field) -> Option<String> {
        if !self.asked.contains(field) {
            self.asked.push(*field);
        }
        if let Some(value) = self.env.get(field.env) {
            return Some(value.clone());
        }
        if field.secret
            && let Some(path) = self.env.get(&format!("{}_FILE", field.env))
        {
            return match read_limited(Path::new(path)) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(mistake) => {
                    self.mistake(field, mistake);
                    Some(String::new())
                }
            };
        }
        self.file.get(field.name).cloned().or_else(|| field.default.map(str::to_owned))
    }

    /// Records a mistake that only the service can see, such as two settings that exclude each other.
    pub fn mistake(&mut self, field: &Field, what: impl std::fmt::Display) {
        self.mistakes.push(format!("{} ({}) {what}", field.name, field.env));
    }

    /// A text that must be there.
    pub fn text(&mut self, field: &Field) -> String {
        self.raw(field).unwrap_or_else(|| {
            self.mistake(field, format!("is missing: {}", field.meaning));
            String::new()
        })
    }

    /// A text, if given.
    pub fn optional_text(&mut self, field: &Field) -> Option<String> {
        self.raw(field)
    }

    /// A secret that must be there.
    pub fn secret(&mut self, field: &Field) -> Secret {
        Secret::new(self.text(field))
    }

    /// A secret, if given.
    pub fn optional_secret(&mut self, field: &Field) -> Option<Secret> {
        self.raw(field).map(Secret::new)
    }

    /// Any type with a text form whose error is a sentence.
    pub fn parsed<T>(&mut self, field: &Field) -> T
    where
        T: FromStr + Default,
        T::Err: std::fmt::Display,
    {
        let text = self.text(field);
        if text.is_empty() {
            return T::default();
        }
        text.parse().unwrap_or_else(|error: T::Err| {
            self.refuse(field, &text, &error.to_string());
            T::default()
        })
    }

    /// A whole number in `range`.
    pub fn number(&mut self, field: &Field, range: RangeInclusive<u64>) -> u64 {
        let text = self.text(field);
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => number,
            _ if text.is_empty() => *range.start(),
            _ => {
                self.refuse(field, &text, &format!("write a whole number from {} to {}", range.start(), range.end()));
                *range.start()
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, field: &Field) -> bool {
        let text = self.text(field);
        match text.as_str() {
            "true" => true,
            "false" | "" => false,
            _ => {
                self.refuse(field, &text, "write true or false");
                false
            }
        }
    }

    /// A span such as `30s`, `15m`, `90d`.
    pub fn duration(&mut self, field: &Field) -> Duration {
        let text = self.text(field);
        if text.is_empty() {
            return Duration::ZERO;
        }
        lictor_clock::duration::parse(&text).unwrap_or_else(|error| {
            self.refuse(field, &text, &error.to_string());
            Duration::ZERO
        })
    }

    /// An address with its port; without a value all addresses at `port`.
    pub fn address_or(&mut self, field: &Field, port: u16) -> SocketAddr {
        let mut address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        if let Some(text) = self.raw(field) {
            match text.parse() {
                Ok(given) => address = given,
                Err(_) => self.refuse(field, &text, "write an address and a port, such as 0.0.0.0:7010"),
            }
        }
        self.addresses.insert(field.name, address);
        address
    }

    /// What [`Reader::address_or`] answered for `field`; for the `health` command, which has to ask there.
    pub(crate) fn address_asked(&self, field: &Field) -> Option<SocketAddr> {
        self.addresses.get(field.name).copied()
    }

    /// A path that must be there.
    pub fn path(&mut self, field: &Field) -> PathBuf {
        PathBuf::from(self.text(field))
    }

    /// A path, if given.
    pub fn optional_path(&mut self, field: &Field) -> Option<PathBuf> {
        self.raw(field).map(PathBuf::from)
    }

    /// The text of the file at a path, if one is given; a PEM file as a rule.
    pub fn optional_file(&mut self, field: &Field) -> Option<String> {
        let path = self.optional_path(field)?;
        std::fs::read_to_string(&path).map_err(|error| self.mistake(field, format!("cannot be read: {error}"))).ok()
    }

    /// Texts separated by commas (in the file also a list); empty when not given.
    pub fn list(&mut self, field: &Field) -> Vec<String> {
        let text = self.raw(field).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    fn refuse(&mut self, field: &Field, value: &str, next: &str) {
        let shown = if field.secret { "***".to_owned() } else { format!("{value:?}") };
        self.mistake(field, format!("is {shown}; next: {next}"));
    }

    /// Refuses when anything was wrong, unknown keys of the file included.
    pub fn finish(mut self) -> Result<(), SettingsError> {
        for name in self.file.keys() {
            if !self.asked.iter().any(|field| field.name == name) {
                self.mistakes.push(format!("{name} in the settings file is no setting of this program"));
            }
        }
        if self.mistakes.is_empty() { Ok(()) } else { Err(SettingsError(self.mistakes)) }
    }

    /// The fields asked for so far as rows of a Markdown table, in the order of their names.
    pub fn documentation(&self) -> String {
        let mut fields = self.asked.clone();
        fields.sort_by_key(|field| field.name);
        let mut text = String::from("| key in the file | variable | default | meaning |\n|---|---|---|---|\n");
        for field in fields {
            let default = match (field.default, field.required) {
                (Some(default), _) => format!("`{default}`"),
                (None, true) => "required".to_owned(),
                (None, false) => "none".to_owned(),
            };
            let secret = if field.secret { format!(" (secret; or `{}_FILE`)", field.env) } else { String::new() };
            // Writing into a String cannot fail.
            let _ = writeln!(text, "| `{}` | `{}`{secret} | {default} | {} |", field.name, field.env, field.meaning);
        }
        text
    }
}

fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(parts) => {
            let parts: Option<Vec<&str>> = parts.iter().map(toml::Value::as_str).collect();
            parts.map(|parts| parts.join(","))
        }
        _ => None,
    }
}

fn read_limited(path: &Path) -> Result<String, String> {
    use std::io::Read;

    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if text.len() as u64 > FILE_BYTES {
        return Err(format!("{shown} is larger than 1 MiB"));
    }
    Ok(text)
}
