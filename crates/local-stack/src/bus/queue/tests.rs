//! The queue's behaviour, told the time by hand.
