//! `client.toml`, and how it comes together with flags and environment: flags win, then the environment, then the file.

use std::path::{Path, PathBuf};

use lictor_licensing::error::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::failure::{Failure, Outcome};
use crate::files;

/// What `client.toml` may say. `lictor up` writes one; paths in it are relative to its own folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientConfig {
    /// Firm code that verbs use when none is given; 1 and up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firm_code: Option<u32>,
    /// Bearer token for the back office.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// File that holds the bearer token, instead of `token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Certificate authority in PEM for https addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Licence information files whose vendors `lictor run` trusts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trust: Vec<PathBuf>,
    /// Where the services listen.
    pub address: Addresses,
    /// The licence server.
    pub server: ServerConfig,
}

/// Addresses of the services, each such as `http://127.0.0.1:7010`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Addresses {
    /// license-central
    #[serde(skip_serializing_if = "Option::is_none")]
    pub central: Option<String>,
    /// activation
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// push-update-generator
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<String>,
    /// notification-dispatcher
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification: Option<String>,
}

/// How to reach the licence server and to prove oneself its administrator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// `name[:port]`, several separated by commas, or `unix:/path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Unix socket of the licence server on this machine: the way for verbs that change something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Admin token; sent only to a server whose key is pinned by `fingerprint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token: Option<String>,
    /// File that holds the admin token, instead of `admin_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token_file: Option<PathBuf>,
    /// SHA-256 of the server's TLS certificate, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// Everything that verbs may ask for, merged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) firm_code: Option<u32>,
    pub(crate) token: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) trust: Vec<PathBuf>,
    pub(crate) address: Addresses,
    /// Where to look for the licence server.
    pub(crate) server: Option<String>,
    /// Where to change it when no `--server` was given: `CODEMETER_HOST` tells programs where seats are, and is no way
    /// in for administrators.
    pub(crate) server_socket: Option<PathBuf>,
    pub(crate) server_token: Option<String>,
    pub(crate) server_fingerprint: Option<String>,
    pub(crate) timeout: u64,
    /// Folder of the configuration file, when there is one.
    pub(crate) folder: Option<PathBuf>,
}

/// Looks up an environment variable; a parameter so that tests need not touch the process.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Puts flags, environment and file together.
    pub(crate) fn load(global: &Global, lookup: Lookup<'_>) -> Outcome<Self> {
        let (file, folder) = match &global.config {
            Some(path) => (parse(path, &files::read(path)?)?, folder_of(path)),
            None => match default_path(lookup) {
                Some(path) if path.exists() => (parse(&path, &files::read(&path)?)?, folder_of(&path)),
                _ => (ClientConfig::default(), None),
            },
        };
        let rooted = |path: &PathBuf| folder.as_ref().map_or_else(|| path.clone(), |folder| folder.join(path));
        let given = |flag: &Option<String>, file: &Option<String>| {
            flag.clone().filter(|text| !text.is_empty()).or_else(|| file.clone())
        };
        let token = first_secret(
            lookup("LICTOR_TOKEN"),
            global.token_file.clone(),
            file.token.clone(),
            file.token_file.as_ref().map(&rooted),
        )?;
        let server_token = first_secret(
            lookup("LICTOR_SERVER_TOKEN"),
            lookup("LICTOR_SERVER_TOKEN_FILE").map(PathBuf::from),
            file.server.admin_token.clone(),
            file.server.admin_token_file.as_ref().map(&rooted),
        )?;
        Ok(Self {
            firm_code: global.firm_code.or(file.firm_code),
            token,
            ca: global.ca.clone().or_else(|| file.ca.as_ref().map(&rooted)),
            trust: match lookup("LICTOR_TRUST") {
                Some(path) => vec![PathBuf::from(path)],
                None => file.trust.iter().map(&rooted).collect(),
            },
            address: Addresses {
                central: given(&global.central, &file.address.central),
                activation: given(&global.activation, &file.address.activation),
                update: given(&global.update, &file.address.update),
                notification: given(&global.notification, &file.address.notification),
            },
            server: given(&global.server, &lookup("CODEMETER_HOST").filter(|text| !text.is_empty()))
                .or_else(|| file.server.address.clone()),
            server_socket: if global.server.as_ref().is_some_and(|text| !text.is_empty()) {
                None
            } else {
                let unix = file.server.address.as_deref().and_then(|text| text.strip_prefix("unix:"));
                file.server.socket.as_ref().map(&rooted).or_else(|| unix.map(PathBuf::from))
            },
            server_token,
            server_fingerprint: lookup("LICTOR_SERVER_FINGERPRINT").or(file.server.fingerprint),
            timeout: global.timeout,
            folder,
        })
    }
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    path.parent().map(|folder| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
}

fn default_path(lookup: Lookup<'_>) -> Option<PathBuf> {
    let base = lookup("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| lookup("HOME").map(|home| Path::new(&home).join(".config")))?;
    Some(base.join("lictor").join("client.toml"))
}

fn parse(path: &Path, content: &[u8]) -> Outcome<ClientConfig> {
    let broken = |why: String| {
        Failure::usage(
            format!("{} is no valid configuration: {why}", path.display()),
            "correct the file, or name another one with --config",
        )
    };
    let text = std::str::from_utf8(content).map_err(|_| broken("it is not UTF-8 text".to_owned()))?;
    // Only the message: the error's long form quotes the line, and lines may hold tokens.
    toml::from_str(text).map_err(|error| broken(error.message().lines().next().unwrap_or_default().to_owned()))
}

/// The first of: environment, file named by flag or environment, value in the configuration, file named there.
fn first_secret(
    environment: Option<String>,
    named: Option<PathBuf>,
    inline: Option<String>,
    configured: Option<PathBuf>,
) -> Outcome<Option<String>> {
    if let Some(secret) = environment.filter(|text| !text.is_empty()) {
        return Ok(Some(secret));
    }
    if let Some(path) = named {
        return read_secret(&path).map(Some);
    }
    match (inline, configured) {
        (Some(secret), _) => Ok(Some(secret)),
        (None, Some(path)) => read_secret(&path).map(Some),
        (None, None) => Ok(None),
    }
}

fn read_secret(path: &Path) -> Outcome<String> {
    let content = files::read(path)?;
    let text = String::from_utf8(content).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    text.ok_or_else(|| {
        Failure::new(
            ErrorCode::InvalidArgument,
            format!("{} does not hold a token", path.display()),
            "put the token alone into the file",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn flags_win_over_the_file_and_an_empty_flag_counts_as_none() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("client.toml");
        fs::write(
            &path,
            "firm_code = 7\ntoken_file = \"t\"\n[address]\ncentral = \"http://file\"\nupdate = \"http://u\"\n[server]\naddress = \"box\"\n",
        )
        .expect("file is written");
        fs::write(folder.path().join("t"), "secret\n").expect("token is written");
        let global = Global {
            config: Some(path),
            central: Some("http://flag".to_owned()),
            server: Some(String::new()),
            ..Global::default()
        };
        let settings = Settings::load(&global, &nothing).expect("settings");
        assert_eq!(settings.address.central.as_deref(), Some("http://flag"));
        assert_eq!(settings.address.update.as_deref(), Some("http://u"));
        assert_eq!(settings.server.as_deref(), Some("box"));
        assert_eq!(settings.firm_code, Some(7));
        assert_eq!(settings.token.as_deref(), Some("secret"));
    }

    #[test]
    fn codemeter_host_is_no_way_in_for_administrators_and_an_explicit_server_is() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("client.toml");
        fs::write(&path, "[server]\naddress = \"box\"\nsocket = \"s/lictor.sock\"\n").expect("file is written");
        let host = |name: &str| (name == "CODEMETER_HOST").then(|| "seats".to_owned());
        let mut global = Global { config: Some(path), ..Global::default() };
        let settings = Settings::load(&global, &host).expect("settings");
        assert_eq!(settings.server.as_deref(), Some("seats"));
        assert_eq!(settings.server_socket, Some(folder.path().join("s/lictor.sock")));
        global.server = Some("other".to_owned());
        let settings = Settings::load(&global, &host).expect("settings");
        assert_eq!((settings.server.as_deref(), settings.server_socket), (Some("other"), None));
    }

    #[test]
    fn a_wrong_key_is_a_usage_error_that_does_not_repeat_the_line() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("client.toml");
        fs::write(&path, "tokne = \"very-secret\"\n").expect("file is written");
        let global = Global { config: Some(path), ..Global::default() };
        let failure = Settings::load(&global, &nothing).expect_err("unknown key");
        assert_eq!(failure.exit_code(), 2);
        assert!(!failure.to_string().contains("very-secret"));
    }

    #[test]
    fn a_named_file_must_exist_and_the_default_one_need_not() {
        let global = Global { config: Some(PathBuf::from("/nonexistent/client.toml")), ..Global::default() };
        assert_eq!(Settings::load(&global, &nothing).expect_err("missing").exit_code(), 4);
        Settings::load(&Global::default(), &nothing).expect("no file is fine");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = ClientConfig {
            firm_code: Some(1),
            token: Some("t".to_owned()),
            server: ServerConfig { fingerprint: Some("ab".to_owned()), ..ServerConfig::default() },
            ..ClientConfig::default()
        };
        let text = toml::to_string(&config).expect("toml");
        assert_eq!(toml::from_str::<ClientConfig>(&text).expect("parsed"), config);
    }
}
