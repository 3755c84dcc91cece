//! Settings of the ways beside webhooks, and of reports. Each is closed until the operator opens it.

use std::{path::PathBuf, time::Duration};

use lictor_runtime::{Field, Reader};

use crate::{
    report::period::{Offset, Periods},
    transmission::{
        file::FileOptions,
        mailer::{MailAddress, MailAddresses, MailOptions},
    },
};

const FILE_FOLDER: Field =
    Field::optional("file_folder", "LICTOR_FILE_FOLDER", "folder that destinations of the kind file are written to");
const FILE_ROTATE_BYTES: Field = Field::with_default(
    "file_rotate_bytes",
    "LICTOR_FILE_ROTATE_BYTES",
    "67108864",
    "a file that has reached this size gets no further line, 4096 to 1099511627776",
);
const EXECUTABLE_FOLDER: Field = Field::optional(
    "executable_folder",
    "LICTOR_EXECUTABLE_FOLDER",
    "folder of the programs that destinations of the kind custom may start; others than its owner must not write there",
);
const SMTP_URL: Field = Field::optional(
    "smtp_url",
    "LICTOR_SMTP_URL",
    "mail server: `smtps://HOST`, `smtp://HOST` (STARTTLS, required), or `smtp+plain://HOST` without TLS",
);
const SMTP_USER: Field = Field::optional("smtp_user", "LICTOR_SMTP_USER", "name at the mail server");
const SMTP_PASSWORD: Field =
    Field::optional("smtp_password", "LICTOR_SMTP_PASSWORD", "password at the mail server").secret();
const SMTP_CA: Field =
    Field::optional("smtp_ca", "LICTOR_SMTP_CA", "PEM file with the CA of the mail server, beside the public ones");
const SMTP_FROM: Field = Field::optional("smtp_from", "LICTOR_SMTP_FROM", "address that mail comes from");
const SMTP_DEADLINE: Field =
    Field::with_default("smtp_deadline", "LICTOR_SMTP_DEADLINE", "30s", "longest time of one mail, 1s to 5m");
const OPERATOR_MAIL: Field = Field::with_default(
    "operator_mail",
    "LICTOR_OPERATOR_MAIL",
    "",
    "addresses, with commas between, that hear of destinations which were disabled",
);
const REPORTS: Field = Field::with_default(
    "reports",
    "LICTOR_REPORTS",
    "",
    "reports that are made by themselves: `daily`, `weekly`, `monthly`, with commas between",
);
const REPORT_OFFSET: Field = Field::with_default(
    "report_offset",
    "LICTOR_REPORT_OFFSET",
    "+00:00",
    "difference from UTC of the days that reports count by",
);
const REPORT_MAIL: Field = Field::with_default(
    "report_mail",
    "LICTOR_REPORT_MAIL",
    "",
    "addresses, with commas between, that get each report",
);
const REPORT_FOLDER: Field =
    Field::optional("report_folder", "LICTOR_REPORT_FOLDER", "folder that each report is written to, HTML and CSV");

/// What the ways beside webhooks may do.
#[derive(Debug, Clone, Default)]
pub struct WaySettings {
    /// Where files may be written.
    pub files: Option<FileOptions>,
    /// Where programs may lie.
    pub executables: Option<PathBuf>,
    /// How mail leaves.
    pub mail: Option<MailOptions>,
}

/// Which reports are made and where they go.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// Which.
    pub periods: Periods,
    /// Their calendar.
    pub offset: Offset,
    /// Who gets them.
    pub to: Vec<MailAddress>,
    /// Where they are written.
    pub folder: Option<PathBuf>,
    /// Who hears of destinations that were disabled.
    pub operator: Vec<MailAddress>,
    /// How often it is looked whether something is due; tests make it short.
    pub look_every: Duration,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            periods: Periods::default(),
            offset: Offset::default(),
            to: Vec::new(),
            folder: None,
            operator: Vec::new(),
            look_every: Duration::from_secs(15),
        }
    }
}

impl WaySettings {
    /// Reads them.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let folder = reader.optional_path(&FILE_FOLDER);
        let rotate_bytes = reader.number(&FILE_ROTATE_BYTES, 4_096..=1 << 40);
        Self {
            files: folder.map(|folder| FileOptions { folder, rotate_bytes }),
            executables: reader.optional_path(&EXECUTABLE_FOLDER),
            mail: mail(reader),
        }
    }
}

impl ReportSettings {
    /// Reads them.
    pub(super) fn read(reader: &mut Reader, ways: &WaySettings) -> Self {
        let MailAddresses(to) = reader.parsed(&REPORT_MAIL);
        let MailAddresses(operator) = reader.parsed(&OPERATOR_MAIL);
        let periods: Periods = reader.parsed(&REPORTS);
        let offset = reader.parsed(&REPORT_OFFSET);
        let folder = reader.optional_path(&REPORT_FOLDER);
        for (field, addresses) in [(&REPORT_MAIL, &to), (&OPERATOR_MAIL, &operator)] {
            if !addresses.is_empty() && ways.mail.is_none() {
                reader.mistake(field, "needs LICTOR_SMTP_URL and LICTOR_SMTP_FROM");
            }
        }
        if !periods.0.is_empty() && to.is_empty() && folder.is_none() {
            reader.mistake(&REPORTS, "needs LICTOR_REPORT_MAIL or LICTOR_REPORT_FOLDER");
        }
        Self { periods, offset, to, folder, operator, ..Self::default() }
    }
}

fn mail(reader: &mut Reader) -> Option<MailOptions> {
    let server = reader.optional_text(&SMTP_URL);
    let from = reader.optional_text(&SMTP_FROM);
    let user = reader.optional_text(&SMTP_USER);
    let password = reader.optional_secret(&SMTP_PASSWORD);
    let extra_ca = reader.optional_file(&SMTP_CA);
    let deadline = super::bounded(reader, &SMTP_DEADLINE, Duration::from_secs(1), Duration::from_secs(300));
    let credentials = match (user, password) {
        (Some(user), Some(password)) => Some((user, password.expose().to_owned())),
        (None, None) => None,
        _ => {
            reader.mistake(&SMTP_USER, "needs LICTOR_SMTP_PASSWORD beside it, and the other way round");
            None
        }
    };
    let server = match server?.parse() {
        Ok(server) => server,
        Err(error) => {
            reader.mistake(&SMTP_URL, error);
            return None;
        }
    };
    let Some(from) = from else {
        reader.mistake(&SMTP_URL, "needs LICTOR_SMTP_FROM beside it");
        return None;
    };
    match from.parse() {
        Ok(from) => Some(MailOptions { server, credentials, from, extra_ca, deadline }),
        Err(error) => {
            reader.mistake(&SMTP_FROM, error);
            None
        }
    }
}
