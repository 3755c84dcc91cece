//! `EventService`: events for receivers that fetch.

use std::{pin::Pin, time::Duration};

use lictor_api::{
    convert::timestamp,
    notification::v1::{ReadEventsRequest, ReadEventsResponse, event_service_server::EventService},
};
use lictor_licensing::error::ErrorCode;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, codegen::tokio_stream::Stream};

use super::{Desk, answer};
use crate::{domain::filter::TypeFilter, reading};

/// Events read at once.
const PAGE: u32 = 200;
/// Pause between two looks at the end.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) struct Events(pub(super) Desk);

/// What a caller reads from.
pub(super) struct Reading(mpsc::Receiver<Result<ReadEventsResponse, Status>>);

impl Stream for Reading {
    type Item = Result<ReadEventsResponse, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

#[tonic::async_trait]
impl EventService for Events {
    type ReadEventsStream = Reading;

    async fn read_events(&self, request: Request<ReadEventsRequest>) -> Result<Response<Reading>, Status> {
        let request = request.into_inner();
        let filter = reading::filter(&request.types)?;
        let place = std::sync::Arc::clone(&self.0.readers).try_acquire_owned().map_err(|_| {
            answer::refuse(ErrorCode::LimitExceeded, "too many readers of events at once", "try again in a moment")
        })?;
        // What is wrong with the cursor is said as the answer of the call, not within the stream.
        let first = reading::page(&self.0.db, request.after, PAGE, &filter).await?;
        let (sender, receiver) = mpsc::channel(64);
        let desk = self.0.clone();
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                () = desk.stop.cancelled() => {}
                () = sender.closed() => {}
                () = read(&desk, &request, &filter, first, &sender) => {}
            }
        });
        Ok(Response::new(Reading(receiver)))
    }
}

async fn read(
    desk: &Desk,
    request: &ReadEventsRequest,
    filter: &TypeFilter,
    first: reading::Page,
    sender: &mpsc::Sender<Result<ReadEventsResponse, Status>>,
) {
    let mut left = if request.limit == 0 { u32::MAX } else { request.limit };
    let mut page = first;
    loop {
        for event in std::mem::take(&mut page.events) {
            let told = ReadEventsResponse {
                cursor: event.cursor,
                event_id: event.id,
                event_type: event.kind,
                subject: event.subject,
                occurred_at: Some(timestamp(event.occurred_at)),
                body: event.body,
            };
            if sender.send(Ok(told)).await.is_err() {
                return;
            }
            if request.limit > 0 {
                left -= 1;
                if left == 0 {
                    return;
                }
            }
        }
        if !page.more {
            if !request.follow {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        page = match reading::page(&desk.db, page.cursor, PAGE, filter).await {
            Ok(page) => page,
            Err(status) => {
                let _ = sender.send(Err(status)).await;
                return;
            }
        };
    }
}
