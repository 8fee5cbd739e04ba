//! Why a unit waits, as `start` and `status` tell it: each rule with the machines it leaves, then the machines that come nearest.

use api::types::{Explanation, Hold, Situation, UnitName};

use crate::count::counted;
use crate::machine_label::{Addresses, IdForm};
use crate::session::Session;

/// Asks fleetd for the whole explanation; none if it cannot tell, which is no error: what is known without it is told.
pub(crate) async fn explanation(session: &mut Session<'_>, name: &UnitName) -> Option<Explanation> {
    match session.client.explanation(name).await {
        Ok(explanation) => explanation,
        Err(error) => {
            session.debug(&format!("no explanation of {name}: {error}"));
            None
        }
    }
}

/// Lines about why it waits, each indented and with a line break before it. Without an explanation, or if it does not wait any
/// more by that, the machines that the engine has put down.
pub(crate) fn lines(
    hold: &Hold,
    explanation: Option<&Explanation>,
    machines: &Addresses,
) -> String {
    let explanation = explanation.filter(|it| it.situation == Situation::Waiting);
    let mut lines: Vec<String> = Vec::new();
    let (named, all) = match explanation {
        Some(explanation) if !explanation.nearest.is_empty() => {
            for effect in &explanation.rules {
                let (rule, left, all) = (&effect.rule, effect.left, explanation.machines);
                lines.push(format!(
                    "{rule} leaves {left} of {}",
                    counted(all, "machine")
                ));
            }
            let nearest = explanation.nearest.iter();
            let nearest: Vec<_> = nearest.map(|it| (&it.machine_id, &it.reason)).collect();
            (nearest, explanation.machines)
        }
        Some(_) | None => {
            let obstacles = hold.obstacles.iter();
            let obstacles: Vec<_> = obstacles.map(|it| (&it.machine_id, &it.reason)).collect();
            (obstacles, hold.machines)
        }
    };
    for (machine, reason) in &named {
        let machine = machines.label(machine, IdForm::Short);
        lines.push(format!("{machine}: {reason}"));
    }
    let unnamed = all.saturating_sub(named.len());
    if unnamed > 0 && !named.is_empty() {
        lines.push(format!("and {}", counted(unnamed, "more machine")));
    }
    lines.iter().map(|line| format!("\n  {line}")).collect()
}
