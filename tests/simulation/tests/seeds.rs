//! The promises of dataverse-sync, kept under faults: a few hundred seeds of the simulation.
//!
//! `cargo run --release -p simulation -- --seeds 2000` runs more of them, and tells the story of one that
//! fails.

#![allow(clippy::unwrap_used)]

use simulation::plan::{Fault, Plan};
use simulation::run::run;
use simulation::shrink::shrink;

#[test]
fn every_promise_is_kept_whatever_fails_on_the_way() {
    for seed in 1..=200 {
        let plan = Plan::of_seed(seed, 40);
        let outcome = run(&plan, false).unwrap();
        if !outcome.violations.is_empty() {
            let (plan, outcome) = shrink(&plan, outcome).unwrap();
            panic!(
                "{:?}\ncargo run --release -p simulation -- {} --story",
                outcome.violations,
                plan.arguments()
            );
        }
    }
}

#[test]
fn a_seed_is_the_same_course_of_events_each_time() {
    for seed in [3, 7, 11, 12] {
        let plan = Plan::of_seed(seed, 40);
        let (one, two) = (run(&plan, false).unwrap(), run(&plan, true).unwrap());
        assert_eq!(one.journal.hash(), two.journal.hash(), "seed {seed}");
        assert_eq!(one.figures, two.figures);
        let other = Plan::of_seed(seed + 100, 40);
        assert_ne!(
            one.journal.hash(),
            run(&other, false).unwrap().journal.hash()
        );
    }
}

#[test]
fn without_faults_nothing_is_tried_twice_and_nothing_is_dead_lettered() {
    for seed in 1..=20 {
        let plan = Fault::ALL
            .iter()
            .fold(Plan::of_seed(seed, 40), |plan, f| plan.without(*f));
        let figures = run(&plan, false).unwrap().figures;
        assert_eq!(
            (figures.retries, figures.redeliveries, figures.dead),
            (0, 0, 0),
            "seed {seed}"
        );
        assert_eq!(figures.notifications, 40);
    }
}

#[test]
fn the_faults_that_are_switched_on_do_happen() {
    let mut total = simulation::figures::Figures::default();
    for seed in 301..=360 {
        total += run(&Plan::of_seed(seed, 40), false).unwrap().figures;
    }
    for (label, count) in total.labelled() {
        // A message that cannot be settled is held back before the broker delivers it again, so that its
        // deliveries hardly ever run out.
        let rare = ["rows that differ", "dead-lettered by MaxDeliveryCount"];
        let rare = rare.iter().any(|name| label.starts_with(name));
        assert!(count > 0 || rare, "no {label}");
    }
}
