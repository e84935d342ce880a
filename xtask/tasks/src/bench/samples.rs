//! The result of a run of rolling replication.

/// Bytes of a mebibyte.
pub(crate) const MIB: f64 = 1_048_576.0;

/// The result of a run, in seconds and bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LagSample {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
    pub(crate) count: f64,
    /// From the log's line to the last of the large user's messages.
    pub(crate) big: f64,
    pub(crate) cpu: f64,
    pub(crate) rss: f64,
}

impl LagSample {
    pub(crate) fn numbers(self) -> [f64; 7] {
        [self.median, self.p99, self.most, self.count, self.big, self.cpu, self.rss]
    }

    pub(crate) fn of(numbers: &[f64]) -> Option<LagSample> {
        let [median, p99, most, count, big, cpu, rss] = *numbers else { return None };
        Some(LagSample { median, p99, most, count, big, cpu, rss })
    }
}
