//! The types of events, read from the contract's descriptors and comments.

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

use crate::root;

/// One type of event.
pub(crate) struct Kind {
    /// `lictor.<noun>.<past verb>.v1`
    pub(crate) name: String,
    /// What its data holds.
    pub(crate) message: MessageDescriptor,
    /// Its place in the envelope.
    pub(crate) field: FieldDescriptor,
    /// What the subject of such an event is.
    pub(crate) subject: String,
    /// What it says, if there is more to say than the name does.
    pub(crate) about: String,
}

/// All of them, in the order of their numbers.
pub(crate) fn kinds() -> Vec<Kind> {
    let pool = pool();
    let event = pool.get_message_by_name("lictor.event.v1.Event").expect("the envelope");
    let data = event.oneofs().next().expect("the oneof with the data");
    let mut subject = String::new();
    let mut fields: Vec<FieldDescriptor> = data.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    fields
        .into_iter()
        .map(|field| {
            let message = field.kind().as_message().cloned().expect("data is a message");
            let (noun, verb) = field.name().split_once('_').expect("noun and verb");
            let name = format!("lictor.{noun}.{verb}.v1");
            let comment = comment(&message.parent_file(), message.path());
            let rest = comment
                .strip_prefix(&format!("{name}; "))
                .unwrap_or_else(|| panic!("the comment of {} begins with its type: {comment}", message.full_name()));
            let (first, about) = rest.split_once(". ").unwrap_or((rest.trim_end_matches('.'), ""));
            if let Some(said) = first.strip_prefix("subject: ") {
                subject = said.to_owned();
            } else {
                assert_eq!(first, "subject as above", "{name} says what its subject is");
            }
            Kind { name, message, field, subject: subject.clone(), about: about.to_owned() }
        })
        .collect()
}

fn pool() -> DescriptorPool {
    let files = protox::Compiler::new([root().join("proto")])
        .expect("the folder of the contract")
        .include_imports(true)
        .include_source_info(true)
        .open_file("lictor/event/v1/event.proto")
        .expect("the contract compiles")
        .file_descriptor_set();
    DescriptorPool::from_file_descriptor_set(files).expect("descriptors")
}

/// The comment before a message or field, as one line.
pub(crate) fn comment(file: &protox::prost_reflect::FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let place = info.and_then(|info| info.location.iter().find(|place| place.path == path));
    let text = place.map(|place| place.leading_comments().to_owned()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
