//! From a failing plan to the smallest one that still fails.

use crate::plan::Plan;
use crate::run::{Outcome, run};

/// Switches classes of faults off and halves the work for as long as the same promise stays broken.
///
/// # Errors
/// When a run cannot be set up.
pub fn shrink(plan: &Plan, outcome: Outcome) -> anyhow::Result<(Plan, Outcome)> {
    let Some(broken) = outcome.violations.first().map(|v| v.invariant) else {
        return Ok((plan.clone(), outcome));
    };
    let (mut smallest, mut result) = (plan.clone(), outcome);
    loop {
        let mut shrunk = false;
        for candidate in smaller(&smallest) {
            let outcome = run(&candidate, false)?;
            if outcome.violations.iter().any(|v| v.invariant == broken) {
                (smallest, result, shrunk) = (candidate, outcome, true);
                break;
            }
        }
        if !shrunk {
            return Ok((smallest, result));
        }
    }
}

/// Plans a step simpler than this one, the boldest first.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plans.push(plan);
    };
    for (part, whole) in [(1, 2), (3, 4), (9, 10)] {
        let fewer = plan.notifications * part / whole;
        if fewer > 0 && fewer < plan.notifications {
            with(&|p| p.notifications = fewer);
        }
    }
    if plan.rows > 1 {
        with(&|p| p.rows /= 2);
    }
    if plan.outbound_instances > 1 {
        with(&|p| p.outbound_instances -= 1);
    }
    if plan.inbound_instances > 1 {
        with(&|p| p.inbound_instances -= 1);
    }
    for fault in plan.faults() {
        with(&|p| *p = p.clone().without(fault));
    }
    plans
}
