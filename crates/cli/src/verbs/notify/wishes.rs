//! Flags that say what a destination gets and how it is treated.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lictor_api::convert;
use lictor_api::notification::v1::{
    ActivationLevel, ActivationsModule, DestinationOptions, LicensesModule, Limits, Modules,
};

use crate::failure::{Failure, Outcome};
use crate::files;

/// What may be cleared by `--clear`.
const CLEARABLE: [&str; 8] = ["types", "items", "customers", "modules", "template", "unordered", "limits", "every"];

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// Event types that it wants; may be given more than once [default: all]
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,

    /// Catalogue items whose events it wants; may be given more than once [default: all]
    #[arg(long = "item", value_name = "ITEM")]
    items: Vec<String>,

    /// Customers whose events it wants; may be given more than once [default: all]
    #[arg(long = "customer", value_name = "CUSTOMER")]
    customers: Vec<String>,

    /// Module: new orders and tickets
    #[arg(long)]
    orders: bool,

    /// Module: what happens to licenses
    #[arg(long)]
    licenses: bool,

    /// Properties of licenses in that module, with commas, such as expires_at,quantity [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "licenses")]
    license_properties: Vec<String>,

    /// Module: activations, one record per license (all), per transaction (one-per-ticket), or the latest per license
    #[arg(long, value_name = "LEVEL", value_parser = ["all", "one-per-ticket", "current-status"])]
    activations: Option<String>,

    /// Properties of each license that stand beside its activation, with commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "activations")]
    activation_properties: Vec<String>,

    /// File with JSON in which "{data.license_id}" stands for what the notification says there
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,

    /// Events about one subject need not come in order
    #[arg(long)]
    unordered: bool,

    /// Collect, and send at every multiple of this time, such as 15m
    #[arg(long, value_name = "TIME", value_parser = span)]
    every: Option<Duration>,

    /// Calls at once, 1 to 256
    #[arg(long, value_name = "N")]
    in_flight: Option<u32>,

    /// Calls per second, 1 to 10000
    #[arg(long, value_name = "N")]
    per_second: Option<u32>,

    /// Longest time of one call, 100ms to 60s
    #[arg(long, value_name = "TIME", value_parser = span)]
    call_timeout: Option<Duration>,

    /// Waits after the first, second … failure, such as 5s,5m,1h; the last one repeats
    #[arg(long, value_name = "TIMES", value_delimiter = ',', value_parser = span)]
    retry_waits: Vec<Duration>,

    /// How long a delivery is tried before it is given up, up to 30d
    #[arg(long, value_name = "TIME", value_parser = span)]
    retry_for: Option<Duration>,
}

/// Reads a time like 15m.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    lictor_clock::duration::parse(text).map_err(|error| error.to_string())
}

impl Wishes {
    /// Puts what was given in the place of what is there.
    pub(super) fn apply(self, mut options: DestinationOptions, clear: &[String]) -> Outcome<DestinationOptions> {
        for name in clear {
            match name.as_str() {
                "types" => options.types.clear(),
                "items" => options.items.clear(),
                "customers" => options.customers.clear(),
                "modules" => options.modules = None,
                "template" => options.template.clear(),
                "unordered" => options.unordered = false,
                "limits" => options.limits = None,
                "every" => options.every = None,
                _ => {
                    let names = CLEARABLE.join(", ");
                    return Err(Failure::usage(format!("{name:?} cannot be cleared"), format!("name one of {names}")));
                }
            }
        }
        let replace = |old: &mut Vec<String>, new: Vec<String>| {
            if !new.is_empty() {
                *old = new;
            }
        };
        replace(&mut options.types, self.types);
        replace(&mut options.items, self.items);
        replace(&mut options.customers, self.customers);
        if self.orders || self.licenses || self.activations.is_some() {
            let level = match self.activations.as_deref() {
                Some("all") => Some(ActivationLevel::All),
                Some("one-per-ticket") => Some(ActivationLevel::OnePerTicket),
                Some(_) => Some(ActivationLevel::CurrentStatus),
                None => None,
            };
            options.modules = Some(Modules {
                orders: self.orders,
                licenses: self.licenses.then_some(LicensesModule { properties: self.license_properties }),
                activations: level
                    .map(|level| ActivationsModule { level: level.into(), properties: self.activation_properties }),
            });
        }
        if let Some(path) = self.template {
            options.template = String::from_utf8(files::read(&path)?)
                .map_err(|_| Failure::usage("the template is no text", "write it as JSON in UTF-8"))?;
        }
        options.unordered |= self.unordered;
        if let Some(every) = self.every {
            options.every = Some(convert::duration(every));
        }
        let mut limits = options.limits.take().unwrap_or_default();
        limits.in_flight = self.in_flight.unwrap_or(limits.in_flight);
        limits.per_second = self.per_second.unwrap_or(limits.per_second);
        limits.timeout = self.call_timeout.map(convert::duration).or(limits.timeout);
        limits.retry_for = self.retry_for.map(convert::duration).or(limits.retry_for);
        if !self.retry_waits.is_empty() {
            limits.retry_waits = self.retry_waits.into_iter().map(convert::duration).collect();
        }
        options.limits = Some(limits).filter(|limits| *limits != Limits::default());
        Ok(options)
    }
}

/// What options say, in a few words per line.
pub(super) fn words(options: &DestinationOptions) -> String {
    let mut lines = Vec::new();
    let mut list = |what: &str, names: &[String]| {
        if !names.is_empty() {
            lines.push(format!("{what} {}", names.join(", ")));
        }
    };
    list("types", &options.types);
    list("items", &options.items);
    list("customers", &options.customers);
    if let Some(modules) = &options.modules {
        if modules.orders {
            lines.push("orders".to_owned());
        }
        if let Some(licenses) = &modules.licenses {
            lines.push(format!("licenses {}", licenses.properties.join(", ")).trim_end().to_owned());
        }
        if let Some(activations) = &modules.activations {
            lines.push(format!("activations {}", level(activations.level)));
        }
    }
    if !options.template.is_empty() {
        lines.push("mapped by a template".to_owned());
    }
    if options.unordered {
        lines.push("in any order".to_owned());
    }
    if let Some(every) = options.every.and_then(|every| Duration::try_from(every).ok()) {
        lines.push(format!("every {}", lictor_clock::duration::format(every)));
    }
    if options.limits.is_some() {
        lines.push("own limits".to_owned());
    }
    if lines.is_empty() { "everything".to_owned() } else { lines.join("\n") }
}

/// The word for a level.
pub(super) fn level(level: i32) -> &'static str {
    match ActivationLevel::try_from(level).unwrap_or_default() {
        ActivationLevel::Unspecified => "unknown",
        ActivationLevel::All => "all",
        ActivationLevel::OnePerTicket => "one-per-ticket",
        ActivationLevel::CurrentStatus => "current-status",
    }
}
