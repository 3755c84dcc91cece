//! From what is stored to what is answered.

use lictor_api::{convert::timestamp, notification::v1 as wire};
use lictor_clock::Timestamp;

use crate::{
    domain::{
        delivery::DeliveryState,
        destination::{Breaker, Destination, DestinationState},
        kind,
        outcome::Attempt,
        record::message_id,
        secret::{HeldKey, SigningKind},
    },
    store::listing::{Listed, ListedAttempt},
    transmission::way,
};

/// A destination without its secrets and counts.
pub(super) fn shown(destination: &Destination, keys: &[HeldKey], now: Timestamp) -> wire::Destination {
    let state = match destination.state {
        DestinationState::Enabled => wire::DestinationState::Enabled,
        DestinationState::Disabled { .. } => wire::DestinationState::Disabled,
    };
    let breaker = match destination.health.breaker(now) {
        Breaker::Closed => wire::BreakerState::Closed,
        Breaker::Open => wire::BreakerState::Open,
        Breaker::HalfOpen => wire::BreakerState::HalfOpen,
    };
    wire::Destination {
        destination_id: destination.id.to_string(),
        url: kind::address(&destination.transmission),
        state: state.into(),
        created_at: Some(timestamp(destination.created_at)),
        backlog: 0,
        note: destination.note.clone(),
        transmission: Some(way::without_credentials((*destination.transmission).clone())),
        options: Some(destination.options.wire().clone()),
        breaker: breaker.into(),
        rests_until: destination.health.rests_until.filter(|until| *until > now).map(timestamp),
        failing_since: destination.health.failing_since.map(timestamp),
        revision: destination.revision,
        signing: keys.iter().map(signing).collect(),
        parked: 0,
    }
}

fn signing(held: &HeldKey) -> wire::Signing {
    let kind = match held.key.kind() {
        SigningKind::Hmac => wire::SigningKind::Hmac,
        SigningKind::Ed25519 => wire::SigningKind::Ed25519,
    };
    wire::Signing {
        kind: kind.into(),
        public_key: held.key.public_text(),
        created_at: Some(timestamp(held.created_at)),
        expires_at: held.expires_at.map(timestamp),
    }
}

/// A call that was just made.
pub(super) fn attempt(number: u32, made: &Attempt) -> wire::Attempt {
    wire::Attempt {
        at: Some(timestamp(made.at)),
        status: made.status.into(),
        latency_ms: u32::try_from(made.latency.as_millis()).unwrap_or(u32::MAX),
        result: made.result.name().to_owned(),
        answer: made.answer.clone(),
        number,
    }
}

/// An attempt on record.
pub(super) fn listed_attempt(listed: ListedAttempt) -> wire::Attempt {
    wire::Attempt {
        at: Some(timestamp(listed.at)),
        status: listed.status,
        latency_ms: listed.latency_ms,
        result: listed.result,
        answer: listed.answer,
        number: listed.number,
    }
}

/// A delivery.
pub(super) fn delivery(listed: Listed) -> wire::Delivery {
    let state = match listed.state {
        DeliveryState::Due => wire::DeliveryState::Due,
        DeliveryState::Leased => wire::DeliveryState::Leased,
        DeliveryState::Done => wire::DeliveryState::Done,
        DeliveryState::Parked => wire::DeliveryState::Parked,
        DeliveryState::Collapsed => wire::DeliveryState::Collapsed,
    };
    wire::Delivery {
        delivery_id: listed.id,
        destination_id: listed.destination_id,
        message_id: message_id(&listed.event_id, listed.part),
        event_id: listed.event_id,
        event_type: listed.event_type,
        subject: listed.subject,
        state: state.into(),
        attempts: listed.attempts,
        next_attempt_at: (listed.state == DeliveryState::Due).then(|| timestamp(listed.next_attempt_at)),
        last_attempt: listed.last.map(listed_attempt),
        created_at: Some(timestamp(listed.created_at)),
    }
}
