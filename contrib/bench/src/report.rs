//! The output: Markdown tables of figures beside their limits and bounds.

use crate::stats::{brief, least, median, most, ratios};

/// A bound of the design on a ratio or a value.
#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn text(self) -> String {
        match self {
            Self::AtLeast(b) => format!("≥ {}", brief(b)),
            Self::AtMost(b) => format!("≤ {}", brief(b)),
        }
    }

    fn verdict(self, value: f64) -> &'static str {
        let met = match self {
            Self::AtLeast(b) => value >= b,
            Self::AtMost(b) => value <= b,
        };
        if !value.is_finite() {
            "?"
        } else if met {
            "yes"
        } else {
            "**no**"
        }
    }
}

/// One line of a table: values, each from one repetition, and the limits that were measured beside them.
pub struct Row {
    pub what: String,
    pub values: Vec<f64>,
    pub limits: Vec<f64>,
    pub bound: Option<Bound>,
}

impl Row {
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            values: Vec::new(),
            limits: Vec::new(),
            bound: None,
        }
    }

    pub fn bound(mut self, bound: Bound) -> Self {
        self.bound = Some(bound);
        self
    }

    /// One repetition without a limit beside it.
    pub fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    pub fn push_beside(&mut self, value: f64, limit: f64) {
        self.values.push(value);
        self.limits.push(limit);
    }

    fn cells(&self) -> [String; 6] {
        let dash = || "-".to_owned();
        let spread = |v: &[f64]| match v.len() {
            0 => dash(),
            1 => brief(v[0]),
            _ => format!(
                "{} ({}-{})",
                brief(median(v)),
                brief(least(v)),
                brief(most(v))
            ),
        };
        let ratios = ratios(&self.values, &self.limits);
        let (limit, ratio) = match self.limits.is_empty() {
            true => (dash(), dash()),
            false => (brief(median(&self.limits)), spread(&ratios)),
        };
        let judged = match self.limits.is_empty() {
            true => median(&self.values),
            false => median(&ratios),
        };
        let (bound, met) = match self.bound {
            Some(bound) => (bound.text(), bound.verdict(judged).to_owned()),
            None => (dash(), dash()),
        };
        [
            self.what.clone(),
            spread(&self.values),
            limit,
            ratio,
            bound,
            met,
        ]
    }
}

/// Prints a table. `unit` is that of values and limits, `limit` says what the limit is.
pub fn table(title: &str, unit: &str, limit: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    println!("\n### {title}\n");
    println!("Limit: {limit}.\n");
    println!("| what | {unit} | limit | ratio | bound | met |");
    println!("|---|---|---|---|---|---|");
    for row in rows {
        println!("| {} |", row.cells().join(" | "));
    }
}

/// A sentence under a table, or instead of one.
pub fn remark(text: &str) {
    println!("\n{text}");
}
