//! What a file asks for that this build, or this sink, cannot give: said before a run, not after.

use serde_json::Value;

use super::Context;
use crate::catalogue::ComponentInfo;
use crate::finding::Finding;
use crate::pipeline::VerifyLevel;

/// `sink` is what is known of the pipeline's sink.
pub(super) fn check(context: &Context<'_>, sink: Option<&ComponentInfo>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = sink.and_then(|sink| unproven(context, sink)).into_iter().collect();
    if context.value.get("retention").is_some_and(Value::is_object) {
        let message = "no command removes snapshots yet: the rules of retention are checked, and kept for later";
        findings.push(Finding::new("W321", context.document.key_place("/retention"), message));
    }
    findings
}

/// A level that the sink does not have.
fn unproven(context: &Context<'_>, sink: &ComponentInfo) -> Option<Finding> {
    let pointer = "/verify/after";
    let asked = context.value.pointer(pointer)?.as_str()?;
    let known = |level: &VerifyLevel| level.word() == asked;
    if asked == VerifyLevel::None.word() || sink.verifies.iter().any(known) {
        return None;
    }
    let message = format!("a sink of {} cannot be verified by {asked} after a run", sink.name);
    let able: Vec<&str> = sink.verifies.iter().map(|level| level.word()).collect();
    let help = match able.as_slice() {
        [] => "leave `verify` out: what it writes is read back and decoded before the run ends".to_owned(),
        able => format!("it has the levels {}", able.join(", ")),
    };
    Some(Finding::new("E307", context.document.value_place(pointer), message).help(help))
}
