//! From the ledger's numbers to the report's.

use super::model::Stats;
use crate::detect::FindingKind;
use crate::tracker::snapshot::Statistics;

impl Stats {
    /// The numbers of one moment. Leaks are left out of the occurrences, because they are computed
    /// when asked for and not counted as they happen.
    #[must_use]
    pub fn of(statistics: &Statistics) -> Self {
        let Statistics {
            sums,
            withheld,
            closed: (closed_blocks, closed_bytes, evicted_closed_blocks),
            findings,
            ledger,
            ..
        } = *statistics;
        let by_kind = FindingKind::ALL.into_iter().zip(findings);
        Self {
            live_blocks: sums.live_blocks,
            live_bytes: sums.live_bytes,
            peak_blocks: sums.peak_blocks,
            peak_bytes: sums.peak_bytes,
            total_blocks: sums.total_blocks,
            total_bytes: sums.total_bytes,
            quarantined_blocks: withheld.block_count + closed_blocks,
            quarantined_bytes: withheld.byte_count,
            findings: by_kind
                .filter(|(kind, _)| *kind != FindingKind::Leak)
                .map(|(kind, count)| (kind.name().to_owned(), count))
                .collect(),
            ledger_bytes: ledger.mapped_byte_count,
            dropped_records: ledger.dropped_record_count,
            evicted_blocks: withheld.evicted_block_count + evicted_closed_blocks,
            evicted_bytes: withheld.evicted_byte_count,
            closed_blocks,
            closed_bytes,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::quarantine::Withheld;
    use crate::ledger::{LedgerCounters, Sums};

    #[test]
    fn every_number_has_its_place() {
        let sums = Sums {
            live_blocks: 1,
            live_bytes: 2,
            peak_blocks: 3,
            peak_bytes: 4,
            total_blocks: 5,
            total_bytes: 6,
        };
        let ledger = LedgerCounters {
            dropped_record_count: 10,
            mapped_byte_count: 9,
            ..LedgerCounters::default()
        };
        let statistics = Statistics {
            sums,
            withheld: Withheld {
                block_count: 6,
                byte_count: 8,
                evicted_block_count: 13,
                evicted_byte_count: 14,
            },
            closed: (1, 15, 2),
            findings: [0, 11, 0, 0, 0, 0, 0, 0, 0, 12],
            ledger,
            ..Statistics::default()
        };
        let stats = Stats::of(&statistics);
        assert_eq!(stats.findings.get("double-free"), Some(&11));
        assert_eq!(stats.findings.get("leak"), None);
        assert_eq!(stats.findings.get("truncated-pointer"), Some(&12));
        let json = serde_json::to_string(&stats).unwrap();
        let expected = "{\"live_blocks\":1,\"live_bytes\":2,\"peak_blocks\":3,\"peak_bytes\":4,\
                        \"total_blocks\":5,\"total_bytes\":6,\"quarantined_blocks\":7,\
                        \"quarantined_bytes\":8,";
        assert!(json.starts_with(expected), "{json}");
        assert!(
            json.ends_with(
                "\"ledger_bytes\":9,\"dropped_records\":10,\"evicted_blocks\":15,\
                 \"evicted_bytes\":14,\"closed_blocks\":1,\"closed_bytes\":15}"
            ),
            "{json}"
        );
    }
}
