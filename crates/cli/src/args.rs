//! Options that every verb takes, and small readers of values.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use lictor_clock::{Timestamp, TimestampParseError};
use lictor_licensing::ticket::TicketCode;

use crate::failure::{Failure, Outcome};

const HEADING: &str = "Options of every verb";

/// Options that every verb takes. What is not given here is looked up in the environment, then in `client.toml`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// Print JSON: one object, or one line per object, and nothing else on stdout
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) json: bool,

    /// Configuration file [default: ~/.config/lictor/client.toml]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", env = "LICTOR_CONFIG", hide_env_values = true, help_heading = HEADING)]
    pub(crate) config: Option<PathBuf>,

    /// The vendor's firm code
    #[arg(long, global = true, value_name = "N", env = "LICTOR_FIRM_CODE", hide_env_values = true,
          value_parser = clap::value_parser!(u32).range(1..), help_heading = HEADING)]
    pub(crate) firm_code: Option<u32>,

    /// Address of license-central, such as http://127.0.0.1:7010
    #[arg(long, global = true, hide_short_help = true, value_name = "URL", env = "LICTOR_CENTRAL", hide_env_values = true, help_heading = HEADING)]
    pub(crate) central: Option<String>,

    /// Address of activation
    #[arg(long, global = true, hide_short_help = true, value_name = "URL", env = "LICTOR_ACTIVATION", hide_env_values = true, help_heading = HEADING)]
    pub(crate) activation: Option<String>,

    /// Address of push-update-generator
    #[arg(long, global = true, hide_short_help = true, value_name = "URL", env = "LICTOR_UPDATE", hide_env_values = true, help_heading = HEADING)]
    pub(crate) update: Option<String>,

    /// Address of notification-dispatcher
    #[arg(long, global = true, hide_short_help = true, value_name = "URL", env = "LICTOR_NOTIFICATION", hide_env_values = true, help_heading = HEADING)]
    pub(crate) notification: Option<String>,

    /// Licence server: name[:port], several separated by commas, or unix:/path [default: CODEMETER_HOST, else
    /// client.toml, else this machine]
    #[arg(long, global = true, value_name = "HOST", help_heading = HEADING)]
    pub(crate) server: Option<String>,

    /// File with the token for the back office (the token itself: LICTOR_TOKEN)
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", env = "LICTOR_TOKEN_FILE", hide_env_values = true, help_heading = HEADING)]
    pub(crate) token_file: Option<PathBuf>,

    /// Certificate authority in PEM for https addresses [default: the public ones]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", env = "LICTOR_CA", hide_env_values = true, help_heading = HEADING)]
    pub(crate) ca: Option<PathBuf>,

    /// Longest wait for an answer, in seconds
    #[arg(long, global = true, hide_short_help = true, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600), help_heading = HEADING)]
    pub(crate) timeout: u64,
}

/// Options of the back office that make no sense for customers.
pub(crate) const BACK_OFFICE_OPTIONS: &[&str] = &["central", "update", "notification", "token_file"];

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a verb notes down what it has begun.
#[derive(Args, Clone, Debug)]
pub(crate) struct StateFolder {
    /// Folder for the notes that let an interrupted run go on [default: beside client.toml, else
    /// ~/.local/state/lictor]
    #[arg(long = "state", value_name = "DIR", env = "LICTOR_STATE", hide_env_values = true)]
    pub(crate) folder: Option<PathBuf>,
}

/// Reads bytes written in hex.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|place| u8::from_str_radix(&text[place..place + 2], 16).ok()).collect()
}

/// Reads a moment: RFC 3339, or a day, which means its beginning in UTC.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let day = text.len() == 10 && !text.contains(['T', 't']);
    let parsed = if day { format!("{text}T00:00:00Z").parse() } else { text.parse::<Timestamp>() };
    parsed.map_err(|error: TimestampParseError| format!("{error}, or as a day like 2027-01-31"))
}

/// A moment as it stands on the wire.
pub(crate) fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.as_micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        // Below a second, so it always fits.
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

/// Reads a ticket as typed. `-` means: the first line of stdin, so that it stays out of the list of processes.
pub(crate) fn ticket(typed: &str) -> Outcome<TicketCode> {
    let mut line = String::new();
    let typed = if typed == "-" {
        use std::io::{BufRead, Read};
        std::io::stdin()
            .lock()
            .take(256)
            .read_line(&mut line)
            .map_err(|error| Failure::local(format!("stdin cannot be read: {}", error.kind()), ""))?;
        line.trim()
    } else {
        typed
    };
    TicketCode::from_str(typed)
        .map_err(|error| Failure::usage(error.to_string(), "compare it with what you were sent, group by group"))
}

/// Hides every ticket in a text that is not ours, such as a complaint about an argument.
pub(crate) fn mask_tickets(text: &str) -> String {
    let is_code = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_code) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_code(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        masked.push_str(before);
        match TicketCode::from_str(word) {
            Ok(ticket) => masked.push_str(&ticket.masked()),
            Err(_) => masked.push_str(word),
        }
        rest = after;
    }
    masked.push_str(rest);
    masked
}

/// Reads a u32 in decimal or, with `0x`, in hex: feature maps are written both ways.
pub(crate) fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "expected a number from 0 to 4294967295, or 0x and hex digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_maps_are_read_in_decimal_and_hex() {
        assert_eq!(number("12"), Ok(12));
        assert_eq!(number("0xFF"), Ok(255));
        assert!(number("-1").is_err());
        assert!(number("0x1FFFFFFFF").is_err());
    }

    #[test]
    fn moments_are_read_as_days_and_as_times() {
        assert_eq!(moment("2027-01-31"), moment("2027-01-31T00:00:00Z"));
        assert_eq!(moment("2027-01-31T02:00:00+02:00"), moment("2027-01-31"));
        assert_eq!(wire_time(moment("2027-01-15T08:00:00.5Z").expect("time")).nanos, 500_000_000);
        for bad in ["", "tomorrow", "2027-13-01", "2027-02-30", "2027-01-31T00:00", "31.01.2027"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hex_is_read_whole_or_not_at_all() {
        assert_eq!(from_hex("00fF"), Some(vec![0, 255]));
        for bad in ["0", "0g", "é0", "+1", " 1"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn tickets_are_masked_inside_other_text() {
        let ticket = TicketCode::new([7; 15]);
        let said = format!("error: unexpected argument '{}' found", ticket.reveal());
        let masked = mask_tickets(&said);
        assert!(!masked.contains(&ticket.reveal()));
        assert!(masked.contains(&ticket.masked()), "{masked}");
        assert_eq!(mask_tickets("größer als 5x5 – nothing here"), "größer als 5x5 – nothing here");
    }

    #[test]
    fn a_mistyped_ticket_is_a_usage_error_and_not_repeated() {
        let failure = ticket("ABCDE-ABCDE").expect_err("too short");
        assert_eq!(failure.exit_code(), 2);
        assert!(!failure.to_string().contains("ABCDE"));
    }
}
