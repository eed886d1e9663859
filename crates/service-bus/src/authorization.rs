//! The right to use an entity: tokens put to the broker's `$cbs` node, and put again in time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::Connection;
use crate::credential::Credential;
use crate::error::ErrorKind;
use crate::link::outlet::Limits;
use crate::link::requester::Requester;
use crate::options::ClientOptions;
use crate::sas;
use crate::sync::{Life, Live};
use crate::wire::management::put_token;

/// The broker's name for shared access signatures, and for Entra's tokens.
const SAS_TYPE: &str = "servicebus.windows.net:sastoken";
const JWT_TYPE: &str = "jwt";
/// The shortest wait before a token is renewed, however little life it has.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait before a renewal that failed is tried again.
const RETRY_WAIT: Duration = Duration::from_secs(10);

/// What is needed to put tokens.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    pub(crate) host: String,
    pub(crate) credential: Credential,
    pub(crate) options: ClientOptions,
}

/// An entity's authorization on one connection.
#[derive(Debug)]
pub(crate) struct Authorization {
    life: Life,
    /// Unix seconds. Moves as the token is renewed.
    expires_at: Arc<AtomicI64>,
    put_at: Instant,
}

impl Live for Authorization {
    fn is_live(&self) -> bool {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        !self.life.is_over() && now < self.expires_at.load(Ordering::Relaxed)
    }
}

impl Authorization {
    /// When its first token was put.
    pub(crate) fn put_at(&self) -> Instant {
        self.put_at
    }

    /// Forgets it, so that the next use of the entity puts a new token.
    pub(crate) fn forget(&self) {
        self.life
            .end(ErrorKind::Connection("not authorized any more".into()));
    }
}

impl Drop for Authorization {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Authority {
    /// Makes sure that the entity may be used on the connection.
    pub(crate) async fn authorize(
        &self,
        connection: &Arc<Connection>,
        entity: &str,
    ) -> Result<(), ErrorKind> {
        let slot = connection.authorization(entity);
        slot.get(|| {
            let (authority, connection) = (self.clone(), connection.clone());
            let audience = format!("sb://{}/{entity}", self.host);
            async move { authority.begin(&connection, audience).await }
        })
        .await
        .map(drop)
    }

    async fn begin(
        self,
        connection: &Arc<Connection>,
        audience: String,
    ) -> Result<Authorization, ErrorKind> {
        let expires_at = self.put(connection, &audience).await?;
        let authorization = Authorization {
            life: Life::default(),
            expires_at: Arc::new(AtomicI64::new(expires_at.unix_timestamp())),
            put_at: Instant::now(),
        };
        let renewing = self.renew(
            Arc::downgrade(connection),
            audience,
            authorization.expires_at.clone(),
        );
        let (life, connected) = (authorization.life.clone(), connection.life().clone());
        tokio::spawn(async move {
            tokio::select! {
                () = renewing => {}
                () = life.over() => {}
                () = connected.over() => {}
            }
        });
        Ok(authorization)
    }

    /// Renews the token in time, trying again for as long as the old one is good. Holds on to nothing
    /// that keeps the connection.
    async fn renew(
        self,
        connection: Weak<Connection>,
        audience: String,
        expires_at: Arc<AtomicI64>,
    ) {
        let mut failed = false;
        loop {
            let expiry = expires_at.load(Ordering::Relaxed);
            let left = expiry - OffsetDateTime::now_utc().unix_timestamp();
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
            if left.is_zero() {
                tracing::warn!(
                    audience,
                    "the authorization for {audience} expired and could not be renewed"
                );
                return;
            }
            sleep(renewal_wait(left, self.options.renew_ahead, failed)).await;
            let Some(connection) = connection.upgrade() else {
                return;
            };
            let renewed = self.put(&connection, &audience).await;
            failed = renewed.is_err();
            match renewed {
                Ok(renewed) => expires_at.store(renewed.unix_timestamp(), Ordering::Relaxed),
                Err(error) => {
                    tracing::debug!(audience, %error, "the authorization for {audience} is not renewed yet: {error}")
                }
            }
        }
    }

    /// Puts a token and returns when it expires.
    async fn put(
        &self,
        connection: &Arc<Connection>,
        audience: &str,
    ) -> Result<OffsetDateTime, ErrorKind> {
        let patience = self.options.connect_timeout;
        let limits = Limits::of(&self.options);
        let getting = timeout(patience, self.token(audience)).await;
        let (token_type, token, expires_at) =
            getting.unwrap_or(Err(ErrorKind::TimedOut(patience)))?;
        let heard = connection.witness().heard();
        let putting = async {
            let cbs = connection
                .cbs
                .get(|| {
                    let connection = connection.clone();
                    async move {
                        timeout(patience, Requester::attach(&connection, "$cbs", limits))
                            .await
                            .unwrap_or(Err(ErrorKind::TimedOut(patience)))
                    }
                })
                .await?;
            let place = cbs.place().await?;
            let answer = cbs
                .call(put_token(audience, token_type, token, expires_at), place)
                .await?;
            answer.success().map(|_| expires_at)
        };
        match timeout(patience, putting).await {
            Ok(put) => put,
            Err(_) => {
                // The next token goes by other links, and if the broker said nothing at all, by
                // another connection.
                if let Some(cbs) = connection.cbs.peek() {
                    cbs.life().end(ErrorKind::TimedOut(patience));
                }
                if connection.witness().heard() == heard {
                    connection.cut();
                }
                Err(ErrorKind::TimedOut(patience))
            }
        }
    }

    async fn token(
        &self,
        audience: &str,
    ) -> Result<(&'static str, String, OffsetDateTime), ErrorKind> {
        match &self.credential {
            Credential::Sas { key_name, key } => {
                let expires_at = OffsetDateTime::now_utc() + self.options.sas_lifetime;
                let token = sas::token(key_name, key, audience, expires_at);
                Ok((SAS_TYPE, token, expires_at))
            }
            Credential::Token(provider) => {
                let token = provider
                    .token()
                    .await
                    .map_err(|error| ErrorKind::Credential(Arc::from(error)))?;
                Ok((JWT_TYPE, token.token, token.expires_at))
            }
        }
    }
}

/// How long to wait before renewing a token that has `left` to live: until `ahead` of its end, but
/// never past the middle of a short life. Soon, if the last renewal `failed`.
fn renewal_wait(left: Duration, ahead: Duration, failed: bool) -> Duration {
    let wait = left - ahead.min(left / 2);
    let longest = if failed { RETRY_WAIT } else { Duration::MAX };
    wait.min(longest).max(SHORTEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_ahead_of_their_end_and_short_ones_at_half_time() {
        let secs = Duration::from_secs;
        assert_eq!(renewal_wait(secs(3600), secs(300), false), secs(3300));
        assert_eq!(renewal_wait(secs(400), secs(300), false), secs(200));
        assert_eq!(renewal_wait(secs(1), secs(300), false), SHORTEST_WAIT);
    }

    #[test]
    fn a_failed_renewal_is_tried_again_soon_and_the_sooner_the_less_time_is_left() {
        let secs = Duration::from_secs;
        assert_eq!(renewal_wait(secs(300), secs(300), true), RETRY_WAIT);
        assert_eq!(renewal_wait(secs(8), secs(300), true), secs(4));
        assert_eq!(renewal_wait(secs(1), secs(300), true), SHORTEST_WAIT);
    }
}
