//! The sessions that links are attached to, and how they end.
//!
//! A session is ended while its links are still there. The library forgets a link as soon as it has
//! said that it detaches; whatever the broker sent on it before it heard of that would then fail the
//! session, and in the end the connection and all who share it.

use std::time::Duration;

use fe2o3_amqp::session::SessionHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::sync::Life;

/// How long the broker has to answer.
const GOODBYE: Duration = Duration::from_secs(5);

/// Keeps a session until `life` is over and ends it then. The token is cancelled when it has ended:
/// until then its links must be kept.
pub(crate) fn hold(mut session: SessionHandle<()>, life: Life) -> CancellationToken {
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tokio::spawn(async move {
        life.over().await;
        end(&mut session).await;
        drop(guard);
    });
    ended
}

/// Ends a session. A broker that does not answer is not waited for.
pub(crate) async fn end(session: &mut SessionHandle<()>) {
    // An error says that it had ended already.
    let _ = timeout(GOODBYE, session.end()).await;
}
