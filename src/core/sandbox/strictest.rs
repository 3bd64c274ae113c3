//! Several sets of limits at once: the strictest of each holds.

use super::Resources;

impl Resources {
    /// The limits that hold where both sets do.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            memory: least(self.memory, other.memory),
            swap: least(self.swap, other.swap),
            tasks: least(self.tasks, other.tasks),
            cpu_millis: least(self.cpu_millis, other.cpu_millis),
            cpu_weight: least(self.cpu_weight, other.cpu_weight),
            io_weight: least(self.io_weight, other.io_weight),
            best_effort: self.best_effort && other.best_effort,
        }
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, None) => one,
        (None, other) => other,
    }
}
