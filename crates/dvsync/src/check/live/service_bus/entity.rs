//! Which entities the apps use, and for what.

use sync_core::queue::ServiceBusQueue;
use sync_core::settings::{OutboundSetting, environment, rejected_queue};

use super::BUS;
use crate::check::live::line::{Line, Outcome};
use crate::check::live::parts::Parts;

/// What the apps need of one entity.
pub(super) struct Need {
    /// What they send to.
    pub(super) entity: String,
    /// The setting that names it.
    pub(super) setting: &'static str,
    /// What they receive from.
    pub(super) listen: Option<Listen>,
    /// Whether its messages belong to sessions.
    pub(super) sessions: bool,
    /// Whether a repeated send has to be folded.
    pub(super) folds: bool,
}

/// Where messages are received.
pub(super) struct Listen {
    /// The queue, or the subscription by its path.
    pub(super) path: String,
    /// A subscription, and the `targetSystem` that its rules have to fit.
    pub(super) target: Option<String>,
}

/// What the apps of the folder need, each entity once.
pub(super) fn needs(parts: &Parts) -> Vec<Need> {
    let settings = &parts.settings;
    let (setting, listen) = match &settings.outbound {
        OutboundSetting::Queue(queue) => {
            let path = queue.clone();
            ("OUTBOUND_QUEUE", Some(Listen { path, target: None }))
        }
        OutboundSetting::Topic {
            topic,
            subscription,
        } => {
            let listen = subscription.as_ref().map(|name| Listen {
                path: ServiceBusQueue::subscription_path(topic, name),
                target: parts
                    .files
                    .first()
                    .map(|file| file.config.target_system.clone()),
            });
            ("OUTBOUND_TOPIC", listen)
        }
    };
    let inbound = &settings.inbound_queue;
    let mut needs = vec![
        Need {
            entity: settings.outbound.entity().to_owned(),
            setting,
            listen: listen.filter(|_| parts.outbound),
            sessions: settings.sessions,
            folds: true,
        },
        Need {
            entity: inbound.clone(),
            setting: "INBOUND_QUEUE",
            listen: parts.inbound.then(|| Listen {
                path: inbound.clone(),
                target: None,
            }),
            sessions: false,
            folds: true,
        },
    ];
    // That it has to be set, `dvsync check` says.
    let rejected = rejected_queue(&environment).ok();
    if let Some(entity) = rejected.filter(|_| settings.sessions && parts.outbound) {
        needs.push(Need {
            entity,
            setting: "REJECTED_QUEUE",
            listen: None,
            sessions: false,
            folds: false,
        });
    }
    needs
}

const MISSING: &str = "EntityMissing";

/// The line for an entity that is not there.
pub(super) fn missing(need: &Need) -> Line {
    let Need {
        entity, setting, ..
    } = need;
    BUS.wrong(
        entity,
        MISSING,
        "there is no such queue or topic in the namespace",
        format!("create it (infra/ does, and so does `az servicebus queue create -n {entity} --enable-duplicate-detection true`), or correct {setting}"),
    )
}

pub(super) fn says_missing(line: &Line) -> bool {
    matches!(&line.outcome, Outcome::Wrong { code, .. } if *code == MISSING)
}
