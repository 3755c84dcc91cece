//! What is known about one setting.

/// One setting: its names, its default, its meaning. Make it a `const` beside the settings struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Key in the TOML file, such as `database_url`.
    pub name: &'static str,
    /// Environment variable, such as `DATABASE_URL`; wins over the file.
    pub env: &'static str,
    /// What holds when it is not given; nothing for required and optional ones.
    pub default: Option<&'static str>,
    /// A start without it is refused.
    pub required: bool,
    /// Never printed; may also come from the file that `<env>_FILE` names.
    pub secret: bool,
    /// One phrase for `docs/settings.md`, lower case, with unit and range.
    pub meaning: &'static str,
}

impl Field {
    /// A setting without which nothing starts.
    pub const fn required(name: &'static str, env: &'static str, meaning: &'static str) -> Self {
        Self { name, env, default: None, required: true, secret: false, meaning }
    }

    /// A setting that may be left out.
    pub const fn optional(name: &'static str, env: &'static str, meaning: &'static str) -> Self {
        Self { name, env, default: None, required: false, secret: false, meaning }
    }

    /// A setting with a default.
    pub const fn with_default(
        name: &'static str,
        env: &'static str,
        default: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, env, default: Some(default), required: false, secret: false, meaning }
    }

    /// The same, kept out of every output.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}
