//! From an event to what one destination gets of it: nothing, the event as it is, or records that its modules, properties
//! and template make of it.

use std::sync::OnceLock;

use lictor_licensing::id::EventId;
use prost::bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    modules::{Activations, Level, Modules},
    options::Options,
    scope::{Knowledge, Wanted},
};

/// An event with its body, read at most once.
#[derive(Debug)]
pub struct Seen {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub kind: String,
    /// What orders its deliveries.
    pub order_key: String,
    /// The body that every destination without a wish of its own gets.
    pub body: Bytes,
    json: OnceLock<Value>,
}

/// One delivery to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// 0 for the whole event, else 1, 2, 3 …: which of its records.
    pub part: u32,
    /// What orders it.
    pub order_key: String,
    /// Its own body; nothing for that of the event.
    pub body: Option<Bytes>,
    /// Whether a later one with the same order key makes it stale.
    pub collapses: bool,
}

/// What a destination gets of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Share {
    /// These deliveries; none when it does not want the event.
    Records(Vec<Record>),
    /// That depends on this order or license, of which nothing has been heard yet.
    DependsOn(String),
}

/// What the receiver dedupes by.
pub fn message_id(event: &str, part: u32) -> String {
    if part == 0 { event.to_owned() } else { format!("{event}-{part}") }
}

impl Seen {
    /// An event as it is stored.
    pub fn new(id: EventId, kind: String, order_key: String, body: Bytes) -> Self {
        Self { id, kind, order_key, body, json: OnceLock::new() }
    }

    /// Its body as JSON.
    pub fn json(&self) -> &Value {
        self.json.get_or_init(|| serde_json::from_slice(&self.body).unwrap_or_default())
    }

    /// What `options` make of it.
    pub fn share(&self, options: &Options, known: &Knowledge) -> Share {
        if !options.types.wants(&self.kind) {
            return Share::Records(Vec::new());
        }
        if options.is_plain() {
            let record = Record { part: 0, order_key: self.order_key.clone(), body: None, collapses: false };
            return Share::Records(vec![self.ordered(record, options)]);
        }
        let made = match &options.modules {
            None => vec![self.whole(None)],
            Some(modules) => self.of_modules(modules, known),
        };
        let mut records = Vec::with_capacity(made.len());
        for one in made {
            // Filters look at what the event or the license is, not at what was chosen of it.
            let wanted = match &one.license {
                None => options.scope.wants(&self.json()["data"], known),
                Some(id) => options.scope.wants(&json!({ "license_id": id }), known),
            };
            match wanted {
                Wanted::Yes => {}
                Wanted::No => continue,
                Wanted::DependsOn(id) => return Share::DependsOn(id),
            }
            let order_key = one.license.unwrap_or_else(|| self.order_key.clone());
            let body = self.body_of(one.part, one.data, options);
            records.push(self.ordered(Record { part: one.part, order_key, body, collapses: one.collapses }, options));
        }
        Share::Records(records)
    }

    fn ordered(&self, record: Record, options: &Options) -> Record {
        if !options.unordered || record.collapses {
            return record;
        }
        Record { order_key: message_id(&self.id.to_string(), record.part), ..record }
    }

    fn whole(&self, data: Option<Value>) -> Made {
        Made { part: 0, license: None, data, collapses: false }
    }

    fn of_modules(&self, modules: &Modules, known: &Knowledge) -> Vec<Made> {
        match self.kind.split('.').nth(1).unwrap_or_default() {
            "order" | "ticket" if modules.orders => vec![self.whole(None)],
            "license" => match &modules.licenses {
                None => Vec::new(),
                Some(properties) if properties.is_empty() => vec![self.whole(None)],
                Some(properties) => {
                    let data = &self.json()["data"];
                    let mut chosen = chosen(data, properties);
                    // Which license, and what the event says beyond it.
                    let always = ["license_id", "days_ahead", "expired_at", "into_license_id", "pending_in_container"];
                    let always = always.iter().filter_map(|name| Some(((*name).to_owned(), data.get(name)?.clone())));
                    chosen.extend(always);
                    vec![self.whole(Some(Value::Object(chosen)))]
                }
            },
            "activation" => match &modules.activations {
                Some(activations) if activations.level.tells(&self.kind) => self.of_activation(activations, known),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn of_activation(&self, activations: &Activations, known: &Knowledge) -> Vec<Made> {
        let data = &self.json()["data"];
        let ids: Vec<&str> = data["license_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let state = if self.kind.contains(".confirmed.") { "confirmed" } else { "completed" };
        let mut common = data.as_object().cloned().unwrap_or_default();
        common.insert("state".to_owned(), json!(state));
        if activations.level == Level::OnePerTicket {
            if !activations.properties.is_empty() {
                let licenses = ids.iter().map(|id| license(id, &activations.properties, known)).collect();
                common.insert("licenses".to_owned(), Value::Array(licenses));
            }
            return vec![self.whole(Some(Value::Object(common)))];
        }
        common.remove("license_ids");
        let collapses = activations.level == Level::CurrentStatus;
        (1..)
            .zip(ids)
            .map(|(part, id)| {
                let mut own = common.clone();
                own.insert("license_id".to_owned(), json!(id));
                if !activations.properties.is_empty() {
                    own.insert("license".to_owned(), license(id, &activations.properties, known));
                }
                Made { part, license: Some(id.to_owned()), data: Some(Value::Object(own)), collapses }
            })
            .collect()
    }

    fn body_of(&self, part: u32, data: Option<Value>, options: &Options) -> Option<Bytes> {
        if data.is_none() && options.template.is_none() {
            return None;
        }
        let mut notification = self.json().clone();
        if let Some(data) = data {
            notification["id"] = json!(message_id(&self.id.to_string(), part));
            notification["data"] = data;
        }
        let body = match &options.template {
            Some(template) => template.fill(&notification),
            None => notification.to_string().into_bytes(),
        };
        Some(body.into())
    }
}

/// A record before it is judged and written.
struct Made {
    part: u32,
    /// The one license that it is about; nothing when it is about the event as a whole.
    license: Option<String>,
    /// Its own data; nothing for those of the event.
    data: Option<Value>,
    collapses: bool,
}

fn chosen(data: &Value, properties: &[String]) -> Map<String, Value> {
    properties.iter().filter_map(|name| Some((name.clone(), data.get(name)?.clone()))).collect()
}

fn license(id: &str, properties: &[String], known: &Knowledge) -> Value {
    let mut map = known.0.get(id).map(|about| chosen(about, properties)).unwrap_or_default();
    map.insert("license_id".to_owned(), json!(id));
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use lictor_api::notification::v1 as wire;

    use super::*;

    fn seen(kind: &str, data: Value) -> Seen {
        let id = EventId::from_u128(5);
        let body = json!({ "id": id.to_string(), "type": kind, "data": data }).to_string();
        Seen::new(id, kind.to_owned(), "key".to_owned(), body.into_bytes().into())
    }

    fn options(wanted: wire::DestinationOptions) -> Options {
        Options::try_from(wanted).expect("options")
    }

    fn activations(level: wire::ActivationLevel, properties: &[&str]) -> wire::DestinationOptions {
        let properties = properties.iter().map(|name| (*name).to_owned()).collect();
        let module = wire::ActivationsModule { level: level.into(), properties };
        let modules = wire::Modules { activations: Some(module), ..Default::default() };
        wire::DestinationOptions { modules: Some(modules), ..Default::default() }
    }

    fn records(share: Share) -> Vec<Record> {
        match share {
            Share::Records(records) => records,
            Share::DependsOn(id) => panic!("it depends on {id}"),
        }
    }

    fn data(record: &Record) -> Value {
        let body: Value = serde_json::from_slice(record.body.as_ref().expect("a body of its own")).expect("JSON");
        body["data"].clone()
    }

    #[test]
    fn transaction_makes_one_record_per_license_or_one_in_all() {
        let event = seen("lictor.activation.completed.v1", json!({"activation_id": "a", "license_ids": ["l1", "l2"]}));
        let known = Knowledge(std::collections::HashMap::from([("l2".to_owned(), json!({"expires_at": "soon"}))]));
        let all = options(activations(wire::ActivationLevel::All, &["expires_at"]));
        let made = records(event.share(&all, &known));
        let keys: Vec<_> = made.iter().map(|one| (one.part, one.order_key.as_str(), one.collapses)).collect();
        assert_eq!(keys, [(1, "l1", false), (2, "l2", false)]);
        assert_eq!(
            data(&made[1]),
            json!({"activation_id": "a", "license_id": "l2", "state": "completed",
                   "license": {"license_id": "l2", "expires_at": "soon"}})
        );
        let one = options(activations(wire::ActivationLevel::OnePerTicket, &[]));
        let made = records(event.share(&one, &known));
        assert_eq!((made.len(), made[0].part), (1, 0));
        assert_eq!(data(&made[0])["license_ids"], json!(["l1", "l2"]));
        let status = options(activations(wire::ActivationLevel::CurrentStatus, &[]));
        assert!(records(event.share(&status, &known)).iter().all(|one| one.collapses));
    }

    #[test]
    fn proof_is_no_transaction_but_changes_the_status() {
        let event = seen("lictor.activation.confirmed.v1", json!({"license_ids": ["l1"]}));
        let known = Knowledge::default();
        for (level, count) in [
            (wire::ActivationLevel::All, 0),
            (wire::ActivationLevel::OnePerTicket, 0),
            (wire::ActivationLevel::CurrentStatus, 1),
        ] {
            assert_eq!(records(event.share(&options(activations(level, &[])), &known)).len(), count, "{level:?}");
        }
    }

    #[test]
    fn chosen_properties_are_all_that_is_told_of_a_license() {
        let event = seen(
            "lictor.license.changed.v1",
            json!({"license_id": "l1", "item": "cad", "customer": "acme", "expires_at": "soon", "quantity": 3}),
        );
        let module = wire::LicensesModule { properties: vec!["expires_at".to_owned()] };
        let wanted = wire::DestinationOptions {
            customers: vec!["acme".to_owned()],
            modules: Some(wire::Modules { licenses: Some(module), ..Default::default() }),
            ..Default::default()
        };
        let made = records(event.share(&options(wanted.clone()), &Knowledge::default()));
        assert_eq!(data(&made[0]), json!({"license_id": "l1", "expires_at": "soon"}));
        let other = wire::DestinationOptions { customers: vec!["other".to_owned()], ..wanted };
        assert!(records(event.share(&options(other), &Knowledge::default())).is_empty());
        let order = seen("lictor.order.created.v1", json!({"order_id": "o"}));
        let licenses = wire::Modules { licenses: Some(wire::LicensesModule::default()), ..Default::default() };
        let only = options(wire::DestinationOptions { modules: Some(licenses), ..Default::default() });
        assert!(records(order.share(&only, &Knowledge::default())).is_empty(), "no module wants it");
    }

    #[test]
    fn unknown_license_leaves_it_open_whether_it_is_wanted() {
        let event = seen("lictor.activation.completed.v1", json!({"license_ids": ["l1"]}));
        let wanted = wire::DestinationOptions { items: vec!["cad".to_owned()], ..Default::default() };
        assert_eq!(event.share(&options(wanted), &Knowledge::default()), Share::DependsOn("l1".to_owned()));
    }

    #[test]
    fn template_makes_the_whole_body_and_plain_events_have_none_of_their_own() {
        let event = seen("lictor.order.created.v1", json!({"order_id": "o"}));
        let plain = records(event.share(&Options::default(), &Knowledge::default()));
        assert_eq!(plain[0].body, None);
        let mapped =
            wire::DestinationOptions { template: r#"{"no":"{data.order_id}"}"#.to_owned(), ..Default::default() };
        let made = records(event.share(&options(mapped), &Knowledge::default()));
        assert_eq!(made[0].body.as_deref(), Some(br#"{"no":"o"}"#.as_slice()));
        let free = options(wire::DestinationOptions { unordered: true, ..Default::default() });
        assert_eq!(records(event.share(&free, &Knowledge::default()))[0].order_key, event.id.to_string());
    }
}
