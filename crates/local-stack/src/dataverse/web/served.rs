//! The web server that takes a request, and the request's entry in that server's books.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::response::Response;
use http::{StatusCode, header};
use serde_json::json;

use super::caller::Caller;
use super::message::{ApiRequest, ApiResponse};
use super::{Side, respond};
use crate::dataverse::State;

/// A request on its server. Dropped, the request has ended.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) state: Arc<State>,
    pub(super) server: usize,
    /// Whose books it is in; `None` for users, who are never refused here.
    pub(super) identity: Option<String>,
    begun: bool,
    spent: Mutex<Duration>,
}

impl Served {
    fn new(state: &Arc<State>, request: &ApiRequest, identity: Option<String>) -> Self {
        let cookies = request.header(header::COOKIE.as_str());
        Self {
            state: state.clone(),
            server: state.protection().choose(cookies),
            identity,
            begun: false,
            spent: Mutex::default(),
        }
    }

    /// A request that counts for nobody.
    pub(super) fn unlimited(state: &Arc<State>, request: &ApiRequest) -> Self {
        Self::new(state, request, None)
    }

    /// Lets a request begin, or says how it is refused.
    pub(super) fn begin(
        state: &Arc<State>,
        request: &ApiRequest,
        caller: &Caller,
    ) -> Result<Self, Box<Response>> {
        let identity = (caller.side == Side::Integration).then(|| caller.identity.clone());
        let mut served = Self::new(state, request, identity.clone());
        let Some(identity) = identity else {
            return Ok(served);
        };
        let begun = state
            .protection()
            .begin(&identity, served.server, Instant::now());
        match begun {
            Ok(()) => {
                served.begun = true;
                Ok(served)
            }
            Err(refusal) => {
                let body =
                    json!({"error": {"code": refusal.limit.code(), "message": refusal.message}});
                let answer = ApiResponse::json(StatusCode::TOO_MANY_REQUESTS, &body)
                    .with(header::RETRY_AFTER, &refusal.retry_after_s.to_string());
                Err(Box::new(respond(&served, answer)))
            }
        }
    }

    /// Notes what the request took, and lets as much of it pass as is configured.
    pub(super) async fn spend(&self, spent: Duration) {
        if let Ok(mut total) = self.spent.lock() {
            *total += spent;
        }
        let slept = self.state.protection().servers.costs.slept;
        if slept > 0.0 {
            tokio::time::sleep(spent.mul_f64(slept)).await;
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let Some(identity) = self.identity.as_deref().filter(|_| self.begun) else {
            return;
        };
        let spent = self.spent.get_mut().map_or(Duration::ZERO, |spent| *spent);
        let mut protection = self.state.protection();
        protection.end(identity, self.server, Instant::now(), spent);
    }
}
