//! Says in the log what was decided and why: once for each decision.

use model::{AssignReason, BrakePhase, Decision, UnassignReason};

/// Logs a plan.
pub(crate) fn log_decisions(decisions: &[Decision]) {
    for decision in decisions {
        match decision {
            Decision::Assign {
                unit,
                machine,
                assignment,
                reason,
            } => {
                let reason = assign_reason(reason);
                tracing::info!(%unit, %machine, target = %assignment.target, reason, "assigned");
            }
            Decision::Unassign {
                unit,
                machine,
                reason,
            } => {
                let reason = unassign_reason(reason);
                tracing::info!(%unit, %machine, reason, "unassigned");
            }
            Decision::Hold { unit, hold } => {
                let nearest = hold.obstacles.first();
                let obstacle = nearest.map(|(machine, obstacle)| format!("{machine} {obstacle}"));
                let machines = hold.machines;
                tracing::info!(%unit, reason = %hold.reason, machines, obstacle, "waits");
            }
            Decision::Release { unit } => tracing::info!(%unit, "waits no longer"),
            Decision::Brake(None) => {
                tracing::warn!("no lost machine keeps its units any longer: the brake is off");
            }
            Decision::Brake(Some(brake)) => {
                let (lost, cluster) = (brake.machines.len(), brake.cluster);
                match brake.phase {
                    BrakePhase::Watching => tracing::warn!(
                        lost,
                        cluster,
                        "several machines were lost: their units stay where they are until it is seen whether more go"
                    ),
                    BrakePhase::Holding => tracing::warn!(
                        lost,
                        cluster,
                        "many machines were lost at once, as if the network were cut: their units stay where they are"
                    ),
                    BrakePhase::Moving => tracing::warn!(
                        waiting = lost,
                        cluster,
                        "lost machines are given up one by one; these keep their units for now"
                    ),
                }
            }
        }
    }
}

fn assign_reason(reason: &AssignReason) -> String {
    match reason {
        AssignReason::LeastLoaded { load, candidates } => {
            format!("smallest load ({load}) of {candidates} machines that can run it")
        }
        AssignReason::Spread {
            in_domain,
            siblings,
            preference,
            load,
            candidates,
        } => {
            let domain = in_domain.map(|count| format!("{count} in its zone, "));
            let domain = domain.unwrap_or_default();
            format!(
                "of {candidates} machines that can run it the best: {domain}{siblings} of its template there, \
                 preference {preference}, load {load}"
            )
        }
        AssignReason::Global => "a global unit runs on every machine that fits".to_owned(),
        AssignReason::Moved => "it was asked to move there".to_owned(),
        AssignReason::Requested => "it is there already".to_owned(),
    }
}

fn unassign_reason(reason: &UnassignReason) -> String {
    match reason {
        UnassignReason::Inactive => "it is to be inactive".to_owned(),
        UnassignReason::Destroyed => "it was destroyed".to_owned(),
        UnassignReason::MachineGone => "the machine is gone".to_owned(),
        UnassignReason::NoLongerFits(obstacle) => {
            format!("the machine no longer fits: it {obstacle}")
        }
        UnassignReason::Moved { to } => format!("it moves to {to}, as was asked"),
        UnassignReason::Duplicate { kept } => format!("it is on {kept} too"),
        UnassignReason::Unreadable => {
            "its entry there cannot be read, and it is not there".to_owned()
        }
    }
}
