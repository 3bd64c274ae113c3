//! The open leases of the bridges, as tables and figures.

use super::exit::Failure;
use crate::core::id::QueueName;
use crate::core::lease::Lease;
use crate::core::units::brief_span;
use crate::os::clock;
use crate::spool::{BridgeFiles, Spool};

/// A line for each open lease of these bridges, or of all if none is named.
pub fn text(spool: &Spool, wanted: &[QueueName]) -> Result<String, Failure> {
    let mut text = String::new();
    for bridge in spool.bridges()? {
        if wanted.is_empty() || wanted.contains(&bridge.name) {
            rows(spool, &bridge, &mut text)?;
        }
    }
    Ok(text)
}

fn rows(spool: &Spool, bridge: &BridgeFiles, text: &mut String) -> Result<(), Failure> {
    let now = clock::wall();
    for (id, lease) in &bridge.leases {
        let Ok(lease) = Lease::parse(lease) else {
            continue;
        };
        let state = match (spool.find(id)?, &lease.lost) {
            (_, Some(_)) => "lost",
            (Some(at), None) => at.state().as_str(),
            (None, None) => "staged",
        };
        let left = match lease.until.since(now) {
            left if left.is_zero() => "0s".to_owned(),
            left => brief_span(left),
        };
        let age = brief_span(now.since(lease.since));
        let (name, queue) = (&bridge.name, &lease.queue);
        text.push_str(&format!(
            "{id:36} {name:12} {queue:20} {age:8} {left:8} {state}\n"
        ));
    }
    Ok(())
}
