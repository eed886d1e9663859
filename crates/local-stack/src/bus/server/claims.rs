//! What the tokens of one connection allow, until they expire.

use fe2o3_amqp_types::definitions::{AmqpError, Error};
use time::OffsetDateTime;

use super::context::Context;
use super::engine::Engine;
use super::failure::error;
use super::link::Link;
use crate::bus::security::{Grant, Right, covers};

/// The grants of one connection, at most one for each audience.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Grant>);

impl Claims {
    /// Takes a grant; it replaces an earlier one for the same audience.
    pub(super) fn add(&mut self, grant: Grant) {
        self.0.retain(|known| known.path != grant.path);
        self.0.push(grant);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn allow(&self, entity: &str, right: Right) -> bool {
        self.0
            .iter()
            .any(|grant| covers(&grant.path, entity) && grant.rights.includes(right))
    }

    pub(super) fn next_expiry(&self) -> Option<OffsetDateTime> {
        self.0.iter().map(|grant| grant.expires_at).min()
    }

    fn expire(&mut self, now: OffsetDateTime) {
        self.0.retain(|grant| grant.expires_at > now);
    }
}

impl Context {
    /// # Errors
    /// When no token of this connection allows it, and the broker looks at tokens.
    pub(super) fn authorize(&self, entity: &str, right: Right) -> Result<(), Error> {
        let entity = entity.to_lowercase();
        if self.hub.security.is_none() || self.claims.allow(&entity, right) {
            return Ok(());
        }
        let claim = right.claim();
        let text = format!(
            "Unauthorized access. '{claim}' claim(s) are required to perform this operation. \
             Resource: 'sb://local-service-bus/{entity}'."
        );
        Err(error(AmqpError::UnauthorizedAccess, text))
    }
}

impl Engine {
    /// Takes all tokens away, as if they had expired.
    pub(super) fn expire_tokens(&mut self) {
        self.ctx.claims = Claims::default();
        self.drop_unauthorized(true);
    }

    /// Detaches links whose token has expired by now.
    pub(super) fn expire_claims(&mut self, now: OffsetDateTime) {
        if self.ctx.claims.next_expiry().is_some_and(|at| at <= now) {
            self.ctx.claims.expire(now);
            self.drop_unauthorized(false);
        }
    }

    /// `all`: even where the broker does not look at tokens.
    fn drop_unauthorized(&mut self, all: bool) {
        let links = self.links_where(|link: &Link| {
            link.needs()
                .is_some_and(|(entity, right)| all || self.ctx.authorize(entity, right).is_err())
        });
        let text = "ExpiredToken: The token is expired.";
        self.detach_links(&links, &error(AmqpError::UnauthorizedAccess, text));
    }
}
