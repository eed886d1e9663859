//! A look at the target that changes nothing: does it answer, and does it believe who calls?

use http::Method;
use uuid::Uuid;

use super::HttpTarget;
use super::call::below;
use crate::config::TableConfig;
use crate::failure::Failure;

/// Why there is no answer to look at.
#[derive(Debug, thiserror::Error)]
pub enum NoProbe {
    /// There is nothing to prove with who calls.
    #[error("{0}")]
    Credential(Failure),
    /// The target was not reached.
    #[error(transparent)]
    Unreached(reqwest::Error),
}

impl HttpTarget {
    /// Reads (`GET`) a row of a table that cannot be there, as deliveries are called; returns the status.
    ///
    /// # Errors
    /// [`NoProbe`].
    pub async fn probe(&self, table: &TableConfig) -> Result<u16, NoProbe> {
        let credential = self.auth.credential().await.map_err(NoProbe::Credential)?;
        let template = match &table.target.find {
            Some(find) => &find.path,
            None => &table.target.write.path,
        };
        let url = below(&self.base, &template.fill(Uuid::new_v4(), None));
        let request = credential.http.request(Method::GET, url);
        let mut request = request.headers(self.config.constant_headers.clone());
        if let Some((name, value)) = &credential.header {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(NoProbe::Unreached)?;
        Ok(answer.status().as_u16())
    }
}
