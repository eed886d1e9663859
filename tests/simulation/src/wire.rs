//! A request over a network: it takes time both ways, and either way may be the end of it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::life::Life;
use crate::world::State;

/// What becomes of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    /// Until it takes effect.
    pub(crate) up: Duration,
    /// Until the answer is back.
    pub(crate) down: Duration,
    /// The caller waits this long.
    pub(crate) patience: Duration,
    /// Whether request or answer get lost.
    pub(crate) lost: Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Nothing,
    Request,
    Answer,
}

/// Sends a request and waits for its answer; `None` when none came in time.
///
/// The request is a task of the *world*: a caller that dies or gives up does not take it back.
pub(crate) async fn exchange<T: Send + 'static>(
    life: &Life,
    wire: Wire,
    effect: impl FnOnce(&mut State) -> T + Send + 'static,
) -> Option<T> {
    life.point().await;
    let answer = request(life, wire, effect);
    let answer = timeout(wire.patience, answer).await;
    life.point().await;
    match answer {
        Ok(Ok(answer)) => Some(answer),
        _ => {
            life.world.lock().figures.answers_lost += 1;
            None
        }
    }
}

fn request<T: Send + 'static>(
    life: &Life,
    wire: Wire,
    effect: impl FnOnce(&mut State) -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (tell, told) = oneshot::channel();
    let world = std::sync::Arc::clone(&life.world);
    tokio::spawn(async move {
        if wire.lost == Lost::Request {
            // Held, not dropped: the caller notices nothing but silence.
            sleep(wire.patience * 2).await;
            return;
        }
        sleep(wire.up).await;
        let answer = effect(&mut world.lock());
        sleep(wire.down).await;
        if wire.lost == Lost::Answer {
            sleep(wire.patience * 2).await;
            return;
        }
        // A caller that is gone wants no answer.
        let _ = tell.send(answer);
    });
    told
}
