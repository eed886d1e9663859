//! Several instances of one app, as a scaled-out plan runs them.
//!
//! Each has a handler process and a port of its own. They compete for messages, and agree through storage
//! on which of them runs a timer.

use futures_util::future::join_all;

use super::{Host, HostConfig, HostError, HostState, Invocations, timer_storage};

/// The running instances. Dropping it kills their handlers at once.
#[derive(Debug)]
pub struct Fleet {
    hosts: Vec<Host>,
}

impl Fleet {
    /// Starts so many instances, at least one; `config` is asked for each by its number, from 0. The
    /// first one's settings decide where timers remember.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub async fn start(
        instances: usize,
        config: impl Fn(usize) -> HostConfig,
    ) -> Result<Self, HostError> {
        let timers = timer_storage(&config(0))?;
        let mut hosts = Vec::new();
        for number in 0..instances.max(1) {
            hosts.push(Host::start_with(config(number), timers.clone()).await?);
        }
        Ok(Self { hosts })
    }

    /// The instances.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Waits until every handler is ready.
    ///
    /// # Errors
    /// The state of an instance that will not be.
    pub async fn ready(&self) -> Result<(), HostState> {
        for host in &self.hosts {
            host.ready().await?;
        }
        Ok(())
    }

    /// Invocations of all instances.
    pub fn invocations(&self) -> Invocations {
        let all = self.hosts.iter().map(Host::invocations);
        all.fold(Invocations::default(), Invocations::plus)
    }

    /// How often handlers were started again, over all instances.
    pub fn handler_restarts(&self) -> u64 {
        self.hosts.iter().map(Host::handler_restarts).sum()
    }

    /// How often new host instances were started.
    pub fn host_restarts(&self) -> u64 {
        self.hosts.iter().map(Host::host_restarts).sum()
    }

    /// Stops all instances at the same time, each as [`Host::stop`] does.
    pub async fn stop(self) {
        join_all(self.hosts.into_iter().map(Host::stop)).await;
    }
}
