//! Comparing what differs from run to run by its form: a ticket is as good as another ticket.

/// What people copy from the output above into the next command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Copied {
    /// A whole ticket.
    Ticket,
    /// `lic_…`
    License,
    /// `ord_…`
    Order,
    /// `act_…`
    Activation,
    /// `trf_…`
    Transfer,
    /// `dst_…`
    Destination,
    /// 64 hex digits, as `lictor challenge` prints them.
    Challenge,
    /// The serial of a container.
    Container,
}

impl Copied {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ticket,
        Self::License,
        Self::Order,
        Self::Activation,
        Self::Transfer,
        Self::Destination,
        Self::Challenge,
        Self::Container,
    ];

    /// The word that stands for it in a command.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ticket => "TICKET",
            Self::License => "LICENSE",
            Self::Order => "ORDER",
            Self::Activation => "ACTIVATION",
            Self::Transfer => "TRANSFER",
            Self::Destination => "DESTINATION",
            Self::Challenge => "CHALLENGE",
            Self::Container => "CONTAINER",
        }
    }

    /// What a piece of output is, if it is one of these.
    #[must_use]
    pub fn of(piece: &str) -> Option<Self> {
        if is_ticket(piece, |byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
            return Some(Self::Ticket);
        }
        if is_serial(piece) {
            return Some(Self::Container);
        }
        if piece.len() == 64 && piece.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(Self::Challenge);
        }
        match id_prefix(piece)? {
            "lic" => Some(Self::License),
            "ord" => Some(Self::Order),
            "act" => Some(Self::Activation),
            "trf" => Some(Self::Transfer),
            "dst" => Some(Self::Destination),
            _ => None,
        }
    }
}

/// Splits text into pieces that could be ids, times and the like, and what lies between them.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(|sign| !part_of_piece(sign)).flat_map(|chunk| {
        // A full stop or colon behind it is none of it.
        let end = chunk.trim_end_matches(|sign: char| !sign.is_ascii_alphanumeric() && sign != '*').len();
        [&chunk[..end], &chunk[end..]].into_iter().filter(|piece| !piece.is_empty())
    })
}

const fn part_of_piece(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-' | ':' | '.' | '*')
}

/// Whether output fits what a page shows: line by line, spaces not counted, what differs from run to run by its form. A
/// line `...` on the page stands for any number of lines.
#[must_use]
pub fn fits(shown: &str, output: &str) -> bool {
    let lines = |text: &str| -> Vec<String> { text.trim().lines().map(form_of_line).collect() };
    fits_lines(&lines(shown), &lines(output))
}

fn fits_lines(shown: &[String], output: &[String]) -> bool {
    match shown.split_first() {
        None => output.is_empty(),
        Some((line, rest)) if line == "..." => (0..=output.len()).any(|skipped| fits_lines(rest, &output[skipped..])),
        Some((line, rest)) => {
            output.split_first().is_some_and(|(first, others)| first == line && fits_lines(rest, others))
        }
    }
}

/// Words of a fingerprint as people compare it: groups of four hexadecimal digits, many of them.
const FINGERPRINT_WORDS: usize = 8;

fn form_of_line(line: &str) -> String {
    let group = |word: &&str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fingerprint = line.split_whitespace().filter(group).count() >= FINGERPRINT_WORDS;
    let words: Vec<String> = line
        .split_whitespace()
        .filter(|word| !word.chars().all(|sign| matches!(sign, '-' | '─' | '=')) || word.len() < 3)
        .map(|word| if fingerprint && group(&word) { "<hex>".to_owned() } else { pieces(word).map(form).collect() })
        .collect();
    words.join(" ")
}

fn form(piece: &str) -> String {
    if is_ticket(piece, |byte| byte.is_ascii_digit() || byte.is_ascii_uppercase() || byte == b'*') {
        let masked = if piece.contains('*') { "masked ticket" } else { "ticket" };
        return format!("<{masked}>");
    }
    if is_serial(piece) {
        return "<serial>".to_owned();
    }
    if let Some(prefix) = id_prefix(piece) {
        return format!("<{prefix}>");
    }
    if is_date(piece) {
        return if piece.contains('T') { "<time>" } else { "<date>" }.to_owned();
    }
    if piece.strip_prefix("127.0.0.1:").is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return "<address>".to_owned();
    }
    if piece.len() >= 16 && piece.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "<hex>".to_owned();
    }
    piece.to_owned()
}

fn is_ticket(piece: &str, sign: impl Fn(u8) -> bool) -> bool {
    let groups: Vec<&str> = piece.split('-').collect();
    groups.len() == 5 && groups.iter().all(|group| group.len() == 5 && group.bytes().all(&sign))
}

fn is_serial(piece: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    piece.split_once('-').is_some_and(|(kind, number)| digits(kind, 3) && digits(number, 10))
}

/// `lic` of `lic_01JD3X7Q2V0000000000000000`.
fn id_prefix(piece: &str) -> Option<&str> {
    let (prefix, number) = piece.split_once('_')?;
    let good = (2..=4).contains(&prefix.len())
        && prefix.bytes().all(|byte| byte.is_ascii_lowercase())
        && number.len() == 26
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    good.then_some(prefix)
}

/// `2026-05-01`, with or without a time behind it.
fn is_date(piece: &str) -> bool {
    let day = piece.split('T').next().unwrap_or_default();
    let parts: Vec<&str> = day.split('-').collect();
    matches!(parts.as_slice(), [year, month, day] if year.len() == 4 && month.len() == 2 && day.len() == 2)
        && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_compared_by_its_form() {
        let shown = "ticket  DZYSS-QTR6B-CAN5W-542AY-GGDQ9 in 130-3953507407 at 2026-11-22T05:40:58Z";
        assert!(fits(shown, "ticket   DR6P7-NMXNK-Y4DKM-A6Y48-K7FSE in 130-0000000001 at 2027-01-01T00:00:00Z\n"));
        assert!(!fits(shown, "ticket   DR6P7-*****-*****-*****-***** in 130-0000000001 at 2027-01-01T00:00:00Z\n"));
        assert!(fits("lic_01M80WB7WXZ0RKSN0R62Y0MSH4: ok", "lic_01M80WB7WM83VM8EKVVC3QAFCV: ok"));
        assert!(!fits("lic_01M80WB7WXZ0RKSN0R62Y0MSH4: ok", "ord_01M80WB7WM83VM8EKVVC3QAFCV: ok"));
        assert!(fits("http://127.0.0.1:7010", "http://127.0.0.1:36833"));
        assert!(!fits("counter 1 -> 2", "counter 1 -> 3"));
        assert!(!fits("1000 seats", "2000 seats"));
        assert!(fits("is dd5e fbd8 2dd2 a6a1 879d aa6c 2fb3 a9dd", "is ffdb 2574 a79f 116e d3ce 7b4e 0c36 03d5"));
    }

    #[test]
    fn dots_stand_for_any_lines() {
        assert!(fits("a\n...\nd", "a\nb\nc\nd"));
        assert!(fits("a\n...\nd", "a\nd"));
        assert!(!fits("a\n...\nd", "a\nb"));
        assert!(!fits("a", "a\nb"));
    }

    #[test]
    fn pieces_put_together_are_the_text() {
        let text = "{\"ticket\":\"DR6P7-NMXNK-Y4DKM-A6Y48-K7FSE\"} → 1,";
        assert_eq!(pieces(text).collect::<String>(), text);
        let found: Vec<Copied> = pieces(text).filter_map(Copied::of).collect();
        assert_eq!(found, [Copied::Ticket]);
    }
}
