//! Keeps blocks as they should be: their time is renewed, they grow for those who wait, and what is idle goes back.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::server::CallError;
use crate::domain::blocks::{BlockId, Wish};

/// How often all blocks are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Looks for ever.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        for (block, server, wish) in inner.due().await {
            let Some(place) = inner.servers.iter().position(|known| known.name == server) else {
                inner.forget(block).await;
                continue;
            };
            let asking = inner.asking(&wish);
            // Somebody asks for it already.
            let Ok(turn) = Arc::clone(&asking.turn).try_lock_owned() else { continue };
            let inner = Arc::clone(&inner);
            tokio::spawn(async move {
                inner.renew(place, block, &wish).await;
                drop(turn);
            });
        }
    }
}

impl Inner {
    /// Blocks about which something is to be asked now.
    async fn due(&self) -> Vec<(BlockId, String, Wish)> {
        let look = self.ledger.read(|keeper, moment| {
            let blocks = keeper.state.blocks.values();
            let due = blocks.filter(|block| {
                let waiting = keeper.waiting_for(&block.wish);
                keeper.question(&block.id, waiting, moment).is_some()
            });
            due.map(|block| (block.id, block.server.clone(), block.wish.clone())).collect::<Vec<_>>()
        });
        look.await.unwrap_or_default()
    }

    async fn renew(&self, place: usize, block: BlockId, wish: &Wish) {
        let Some(server) = self.servers.get(place) else { return };
        if server.may_be_asked(self.clock.boottime()).is_err() {
            return;
        }
        let wish = wish.clone();
        let next = self.ledger.change(move |writer, moment| {
            let waiting = writer.keeper.waiting_for(&wish);
            writer.ask_about(&block, waiting, moment)
        });
        match next.await {
            Ok(Some(next)) => match self.ask(server, &next.question).await {
                Ok(()) => {}
                Err(CallError::Over(problem)) => {
                    tracing::warn!(server = server.name, %problem, "a network server has ended a block of seats");
                }
                Err(error) => tracing::debug!(server = server.name, %error, "a block of seats is not renewed"),
            },
            Ok(None) => {}
            Err(problem) => tracing::warn!(%problem, "a block of seats cannot be renewed"),
        }
    }

    /// A block of a server that the search list does not name any more: its seats come back there by themselves.
    async fn forget(&self, block: BlockId) {
        let dropped = self.ledger.change(move |writer, moment| writer.drop_block(&block, moment));
        if let Err(problem) = dropped.await {
            tracing::warn!(%problem, "a block of seats cannot be given up");
        }
    }
}
