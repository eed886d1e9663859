//! What goes wrong in a namespace, on purpose: the next operations that match a [`Script`] meet its
//! [`Fault`], and a [`Disturbance`] hits connections at once.
//!
//! Everything counts and nothing is left to chance alone: a script hits the operations that match in
//! the order in which they reach the broker, and its chance, if it has one, is seeded.

mod scripts;

use serde::{Deserialize, Serialize};

pub(crate) use scripts::{Hit, Scripts};

/// `com.microsoft:server-busy`, with which the service throttles.
pub const SERVER_BUSY: &str = "com.microsoft:server-busy";

/// What happens to the next operations that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Name of the entity, without regard to case and without `/$DeadLetterQueue`; any if absent.
    /// Operations on `$cbs` belong to the entity the token is for.
    #[serde(default)]
    pub entity: Option<String>,
    /// What the client does; anything if absent.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// Only the management request of this name, such as `renew-lock`.
    #[serde(default)]
    pub request: Option<String>,
    /// How many matching operations to leave alone first.
    #[serde(default)]
    pub skip: u32,
    /// How many matching operations to hit.
    #[serde(default = "once")]
    pub times: u32,
    /// Hit each matching operation with this chance only.
    #[serde(default)]
    pub chance: Option<Chance>,
    /// Carry the operation out first, and only then fail: the client cannot know.
    #[serde(default)]
    pub after: bool,
    /// What happens.
    pub fault: Fault,
}

fn once() -> u32 {
    1
}

/// A seeded chance: the same operations in the same order are hit again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    /// Probability, 0 to 1.
    pub rate: f64,
    /// Seed.
    #[serde(default)]
    pub seed: u64,
}

/// What a client does, or the broker for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A token is put to `$cbs`.
    PutToken,
    /// A link is attached, to an entity or to its management node.
    Attach,
    /// A message, or a batch, comes in.
    Send,
    /// A message goes out to a receiver.
    Deliver,
    /// A receiver settles deliveries on its link.
    Settle,
    /// A management request comes in.
    Request,
}

/// What happens to an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It is refused: a link with a detach, a message or a settlement with `rejected`, a request
    /// with the status that belongs to the condition.
    Refuse {
        /// The AMQP condition, such as `com.microsoft:server-busy`.
        condition: String,
        /// Text for people.
        #[serde(default)]
        description: String,
    },
    /// It is never answered. It is not carried out either, unless the script says `after`. A
    /// delivery is lost on its way: the message is locked and nobody has it.
    NoAnswer,
    /// It is carried out at once and answered so many milliseconds later.
    LateMs(u64),
    /// The lock in question is lost: before a settlement or a request, right after a delivery.
    LoseLock,
    /// Something happens to the connection it came on.
    Connection(Disturbance),
}

/// What happens to a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disturbance {
    /// It is reset; whatever was not sent yet is lost.
    Reset,
    /// It ends in the middle of a frame, with a FIN.
    HalfFrame,
    /// The broker closes it in good order.
    Close {
        /// The AMQP condition.
        #[serde(default = "connection_forced")]
        condition: String,
        /// Text for people.
        #[serde(default)]
        description: String,
    },
    /// Its links are detached: those to the entity in question, or all; never those to `$cbs`.
    Detach {
        /// The AMQP condition.
        #[serde(default = "detach_forced")]
        condition: String,
        /// Text for people.
        #[serde(default)]
        description: String,
    },
    /// For so many milliseconds the broker takes bytes and says nothing, as behind a broken
    /// network; then it goes on where it was.
    StallMs(u64),
    /// The broker sends a frame that is none.
    Malformed,
    /// Its tokens expire at once.
    ExpireTokens,
}

fn connection_forced() -> String {
    "amqp:connection:forced".to_owned()
}

fn detach_forced() -> String {
    "amqp:link:detach-forced".to_owned()
}

/// Which connections; without any restriction all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Whom {
    /// The one with this number.
    pub connection: Option<u64>,
    /// Those with a link to this entity.
    pub entity: Option<String>,
    /// Those of the client with this AMQP container id.
    pub client: Option<String>,
}

/// A connection of the present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionView {
    /// Its number, counted from 1 as they come.
    pub connection: u64,
    /// The client's AMQP container id; empty until it has opened the connection.
    pub client: String,
    /// The entities it has links to, in lower case and without repetition.
    pub entities: Vec<String>,
}

impl Script {
    /// The next operation meets this fault.
    pub fn once(fault: Fault) -> Self {
        Script {
            entity: None,
            operation: None,
            request: None,
            skip: 0,
            times: 1,
            chance: None,
            after: false,
            fault,
        }
    }

    /// Only operations of this kind on this entity.
    #[must_use]
    pub fn on(mut self, operation: Operation, entity: &str) -> Self {
        self.operation = Some(operation);
        self.entity = Some(entity.to_owned());
        self
    }

    /// Only the management request of this name on this entity.
    #[must_use]
    pub fn on_request(mut self, request: &str, entity: &str) -> Self {
        self.request = Some(request.to_owned());
        self.on(Operation::Request, entity)
    }

    /// Hits so many matching operations.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Leaves so many matching operations alone first.
    #[must_use]
    pub fn skipping(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// The operation is carried out before it fails.
    #[must_use]
    pub fn after(mut self) -> Self {
        self.after = true;
        self
    }

    /// # Errors
    /// A sentence naming what does not fit together.
    pub fn check(&self) -> Result<(), String> {
        if let Some(Chance { rate, .. }) = self.chance
            && !(0.0..=1.0).contains(&rate)
        {
            return Err(format!("chance.rate is {rate}; a probability is 0 to 1"));
        }
        if self.request.is_some() && self.operation.is_some_and(|one| one != Operation::Request) {
            return Err("request goes with the operation \"request\" only".to_owned());
        }
        let fits = match (&self.fault, self.operation) {
            (Fault::Refuse { .. } | Fault::LateMs(_), Some(Operation::Deliver)) => false,
            (Fault::LateMs(_), Some(Operation::Attach)) => false,
            (Fault::LoseLock, one) => matches!(
                one,
                Some(Operation::Deliver | Operation::Settle | Operation::Request)
            ),
            _ => true,
        };
        match fits {
            true => Ok(()),
            false => Err("the fault does not fit the operation".to_owned()),
        }
    }
}

impl Fault {
    /// The service throttles.
    pub fn busy() -> Self {
        Fault::Refuse {
            condition: SERVER_BUSY.to_owned(),
            description: "The request was terminated because the entity is being throttled. \
                          Please wait 10 seconds and try again."
                .to_owned(),
        }
    }

    /// Refused with this condition.
    pub fn refuse(condition: &str) -> Self {
        Fault::Refuse {
            condition: condition.to_owned(),
            description: "Refused by a script.".to_owned(),
        }
    }
}

impl Disturbance {
    /// Links are detached as the service does it when they have been idle.
    pub fn detach_forced() -> Self {
        Disturbance::Detach {
            condition: detach_forced(),
            description: "Detached by a script.".to_owned(),
        }
    }

    /// The connection is closed as the service does it when it moves things about.
    pub fn connection_forced() -> Self {
        Disturbance::Close {
            condition: connection_forced(),
            description: "Closed by a script.".to_owned(),
        }
    }
}
