//! The steps of the main job, in their order.

mod activate;
mod bad_input;
mod container;
mod power_cut;
mod push;
mod seats;
mod sell;
mod webhooks;

use super::narrator::Story;
use super::world::World;

/// Plays everything.
pub(crate) async fn play(world: &mut World) -> Story {
    let truck = sell::play(world).await?;
    container::play(world).await?;
    activate::play(world, &truck).await?;
    // From here on the back office is down, until its own step.
    world.receiver.down().await;
    world.narrator.say("the back office goes down now: nobody answers its webhooks until step 7");
    seats::play(world).await?;
    power_cut::play(world).await?;
    push::play(world).await?;
    webhooks::play(world).await?;
    bad_input::play(world, &truck).await
}
