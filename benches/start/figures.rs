//! What is measured, and how it is read.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// Processor time by program, in the kernel's ticks of 10 ms.
#[derive(Default)]
pub(crate) struct Cpu(BTreeMap<String, u64>);

impl Cpu {
    /// Adds a line of `/proc/PID/stat`.
    pub(crate) fn add(&mut self, line: &str) -> Result<()> {
        let (head, tail) = line.rsplit_once(')').context("a name in brackets")?;
        let name = head.rsplit_once('(').context("a name in brackets")?.1;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let ticks = |index: usize| -> Result<u64> {
            Ok(fields.get(index).context("a longer line")?.parse()?)
        };
        *self.0.entry(name.to_owned()).or_default() += ticks(11)? + ticks(12)?;
        Ok(())
    }

    pub(crate) fn since(&self, before: &Cpu) -> Cpu {
        let used = |name: &String| {
            self.0.get(name).unwrap_or(&0)
                - before
                    .0
                    .get(name)
                    .unwrap_or(&0)
                    .min(self.0.get(name).unwrap_or(&0))
        };
        Cpu(self
            .0
            .keys()
            .map(|name| (name.clone(), used(name)))
            .collect())
    }
}

impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(name, ticks)| format!("{name} {} ms", ticks * 10))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

/// Requests to etcd.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
}

impl Requests {
    pub(crate) fn since(&self, before: &Requests) -> Requests {
        Requests {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
        }
    }
}

/// One start of many units, and the floor beside it; times in milliseconds.
pub(crate) struct BatchRun {
    pub(crate) ours: f64,
    pub(crate) dbus: f64,
    pub(crate) etcd: f64,
    pub(crate) made: Requests,
    pub(crate) destroyed: f64,
    pub(crate) cpu: Cpu,
    pub(crate) cpu_destroying: Cpu,
    pub(crate) cpu_floor: Cpu,
}

impl BatchRun {
    pub(crate) fn floor(&self) -> f64 {
        self.dbus + self.etcd
    }

    pub(crate) fn ratio(&self) -> f64 {
        self.ours / self.floor()
    }
}

/// The numbers of a text, one a line, each times `scale`.
pub(crate) fn times(text: &str, scale: f64) -> Result<Vec<f64>> {
    let numbers: Vec<f64> = text
        .lines()
        .filter_map(|line| line.trim().parse::<f64>().ok())
        .map(|n| n * scale)
        .collect();
    ensure!(!numbers.is_empty(), "no times in {text:?}");
    Ok(numbers)
}

/// The middle one.
pub(crate) fn median(times: &[f64]) -> Result<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().context("no times")
}
