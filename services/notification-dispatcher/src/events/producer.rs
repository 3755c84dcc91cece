//! Producers: services that announce events and answer `ListEvents`.

use std::{collections::HashSet, str::FromStr};

use lictor_api::event::v1::{ListEventsRequest, ListEventsResponse, event_feed_service_client::EventFeedServiceClient};
use lictor_broker::list_events;
use lictor_runtime::{
    StartError,
    client::{self, ServiceChannel, TokenSource},
};
use lictor_storage::Database;
use tonic::Status;

use super::SOURCE;

/// Most producers of one installation.
pub const PRODUCERS: usize = 32;

/// Names and addresses of producers, as in settings: `license-central=http://central:7010,activation=…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerList(pub Vec<(String, String)>);

/// Why a text is no list of producers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerListError {
    /// Not `name=address`.
    #[error("{0:?} is no producer; write NAME=http://HOST:PORT with commas between")]
    Entry(String),
    /// A name twice.
    #[error("the producer {0} is named twice")]
    Twice(String),
    /// This service reads its own events from its own database.
    #[error("{SOURCE} is this service itself and needs no entry")]
    Itself,
    /// More than [`PRODUCERS`].
    #[error("at most {PRODUCERS} producers can be named")]
    TooMany,
}

impl FromStr for ProducerList {
    type Err = ProducerListError;

    fn from_str(text: &str) -> Result<Self, ProducerListError> {
        let mut list = Vec::new();
        let mut names = HashSet::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, address) = entry.split_once('=').ok_or_else(|| ProducerListError::Entry(entry.to_owned()))?;
            let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if name.is_empty() || name.len() > 64 || !plain || address.is_empty() {
                return Err(ProducerListError::Entry(entry.to_owned()));
            }
            if name == SOURCE {
                return Err(ProducerListError::Itself);
            }
            if !names.insert(name.to_owned()) {
                return Err(ProducerListError::Twice(name.to_owned()));
            }
            if list.len() == PRODUCERS {
                return Err(ProducerListError::TooMany);
            }
            list.push((name.to_owned(), address.to_owned()));
        }
        Ok(Self(list))
    }
}

/// Where a source's events are read.
#[derive(Debug, Clone)]
pub enum Feed {
    /// Another service.
    Remote(EventFeedServiceClient<ServiceChannel>),
    /// The own outbox.
    Own(Database),
}

impl Feed {
    /// The feed of a service at `address`.
    ///
    /// # Errors
    /// `Settings` for a malformed address.
    pub fn remote(address: &str, ca: Option<&str>, token: Option<TokenSource>) -> Result<Self, StartError> {
        let client = EventFeedServiceClient::new(client::channel(address, ca, token)?)
            .max_decoding_message_size(lictor_runtime::MESSAGE_BYTES);
        Ok(Self::Remote(client))
    }

    /// Events after `after`, oldest first, at most `limit`.
    pub async fn page(&self, after: u64, limit: u32) -> Result<ListEventsResponse, Status> {
        let request = ListEventsRequest { after_sequence: after, limit };
        match self {
            Self::Remote(client) => Ok(client.clone().list_events(request).await?.into_inner()),
            Self::Own(db) => match list_events(db, &request).await {
                Ok(answer) => Ok(answer),
                Err(error) => Err(Status::unavailable(error.to_string())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_producers_is_read_and_slips_are_refused() {
        let list: ProducerList = "license-central=http://a:1, activation=http://b:2".parse().expect("a list");
        assert_eq!(list.0.len(), 2);
        assert_eq!("".parse(), Ok(ProducerList::default()));
        for bad in [
            "license-central",
            "=http://a:1",
            "a=",
            "A=http://a:1",
            "a=http://a,a=http://b",
            "notification-dispatcher=http://a",
        ] {
            assert!(bad.parse::<ProducerList>().is_err(), "{bad}");
        }
    }
}
