//! Prometheus metrics. Labels come from closed sets: outcomes, status classes, codes of the catalogue, lanes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use rowhouse_control::projection::Lag;
use rowhouse_gateway::{Histogram, LATENCY_BOUNDS_US, MetricsSnapshot};
use rowhouse_journal::JournalStatus;

/// What the page is made of.
pub struct Readings {
    /// What the gateway did.
    pub gateway: MetricsSnapshot,
    /// How the journal stands.
    pub journal: JournalStatus,
    /// How far projections are behind.
    pub lags: Vec<Lag>,
    /// The version in force.
    pub directory_version: u64,
    /// Messages to people.
    pub messages: Messages,
    /// How many tenants are stopped, by meter and action.
    pub stopped: BTreeMap<(String, &'static str), u64>,
    /// Measurements of levels, and how long they took in all, by collector.
    pub collectors: Vec<(String, u64, Duration)>,
    /// Levels that are too old to act on.
    pub stale: u64,
    /// Of a gateway of its own.
    pub alone: Option<Alone>,
}

/// How a gateway of its own stands with the control plane.
#[derive(Debug, Clone, Copy)]
pub struct Alone {
    /// Seconds since the directory was known to be all there is.
    pub age_s: u64,
    /// Whether that is too long.
    pub stale: bool,
    /// Versions put in force since the start.
    pub versions: u64,
    /// Frames of the journal that have arrived since the start.
    pub shipped: u64,
}

/// How messages to people stand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Messages {
    /// By how they ended: outcome and number.
    pub ended: [(&'static str, u64); 4],
    /// Not sent yet.
    pub waiting: u64,
    /// Left for a person.
    pub dead: u64,
}

/// Everything, in the text format (version 0.0.4).
pub fn render(readings: &Readings) -> String {
    let Readings { gateway, journal, lags, directory_version, messages, .. } = readings;
    let mut page = Page::default();
    page.family("rowhouse_routes_requests_total", "counter", "Requests by how they ended");
    for (outcome, count) in gateway.by_outcome {
        page.sample("rowhouse_routes_requests_total", &[("outcome", outcome)], count);
    }
    page.family("rowhouse_routes_answers_total", "counter", "Answers by status class");
    for (class, count) in (1..).zip(gateway.by_status_class) {
        page.sample("rowhouse_routes_answers_total", &[("class", &format!("{class}xx"))], count);
    }
    page.family("rowhouse_routes_refusals_total", "counter", "Refusals by code");
    for (code, count) in &gateway.refusals {
        page.sample("rowhouse_routes_refusals_total", &[("code", code)], *count);
    }
    page.family(
        "rowhouse_limits_decisions_total",
        "counter",
        "Decisions of limits by outcome, near of those allowed",
    );
    for (limit, counts) in &gateway.limits {
        let outcomes = [
            ("allowed", counts.allowed),
            ("near", counts.near),
            ("refused", counts.refused),
            ("shadow_refused", counts.shadow_refused),
        ];
        for (outcome, count) in outcomes {
            page.sample("rowhouse_limits_decisions_total", &[("limit", limit), ("outcome", outcome)], count);
        }
    }
    page.single(
        "rowhouse_limits_store_calls_total",
        "counter",
        "Calls to the store of limits for which a request or a lease waited",
        gateway.store_calls,
    );
    page.single(
        "rowhouse_limits_store_failures_total",
        "counter",
        "Of these, those that it did not answer in time, or at all",
        gateway.store_failures,
    );
    page.histogram(
        "rowhouse_routes_duration_seconds",
        "From arrival to the end of the answer",
        &gateway.duration,
    );
    page.histogram(
        "rowhouse_routes_upstream_seconds",
        "Waiting for the upstream's first byte",
        &gateway.upstream,
    );
    page.single(
        "rowhouse_routes_connections_open",
        "gauge",
        "Connections from clients",
        gateway.connections_open,
    );
    page.single(
        "rowhouse_routes_received_bytes_total",
        "counter",
        "Body bytes from clients",
        gateway.bytes_in,
    );
    page.single("rowhouse_routes_sent_bytes_total", "counter", "Body bytes to clients", gateway.bytes_out);
    page.single(
        "rowhouse_journal_dropped_total",
        "counter",
        "Records that could not be written",
        gateway.records_lost,
    );
    lanes(&mut page, journal);
    page.family(
        "rowhouse_journal_lag_records",
        "gauge",
        "Durable records that a projection has not taken, by lane",
    );
    for lag in lags {
        let labels = [("projection", lag.projection), ("lane", lag.lane.as_str())];
        page.sample("rowhouse_journal_lag_records", &labels, lag.records);
    }
    page.family("rowhouse_journal_lag_seconds", "gauge", "Seconds since a projection last had all, by lane");
    for lag in lags {
        let labels = [("projection", lag.projection), ("lane", lag.lane.as_str())];
        page.sample("rowhouse_journal_lag_seconds", &labels, lag.seconds);
    }
    page.single("rowhouse_api_directory_version", "gauge", "Version in force", *directory_version);
    page.family(
        "rowhouse_messages_tries_total",
        "counter",
        "Tries to send a message to people, by how they ended",
    );
    for (outcome, count) in messages.ended {
        page.sample("rowhouse_messages_tries_total", &[("outcome", outcome)], count);
    }
    page.single("rowhouse_messages_waiting", "gauge", "Messages that are not sent yet", messages.waiting);
    page.single(
        "rowhouse_messages_dead",
        "gauge",
        "Messages left for a person after their last try",
        messages.dead,
    );
    quotas(&mut page, readings);
    if let Some(own) = readings.alone {
        alone(&mut page, own);
    }
    page.0
}

fn quotas(page: &mut Page, readings: &Readings) {
    page.family("rowhouse_resources_enforced", "gauge", "Tenants on whom something is imposed, by meter");
    for ((meter, action), count) in &readings.stopped {
        page.sample("rowhouse_resources_enforced", &[("meter", meter), ("action", action)], *count);
    }
    page.single(
        "rowhouse_resources_stale",
        "gauge",
        "Levels that could not be measured for too long to act on",
        readings.stale,
    );
    let name = "rowhouse_resources_collect_seconds";
    page.family(name, "summary", "Measuring levels, by collector");
    for (collector, count, took) in &readings.collectors {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let _ = writeln!(page.0, "{name}_sum{{collector=\"{collector}\"}} {}", seconds(us));
        page.sample(&format!("{name}_count"), &[("collector", collector)], *count);
    }
}

fn alone(page: &mut Page, own: Alone) {
    page.single(
        "rowhouse_deploy_directory_age_seconds",
        "gauge",
        "Of a gateway of its own: since the directory was known to be all there is",
        own.age_s,
    );
    page.single(
        "rowhouse_deploy_directory_stale",
        "gauge",
        "Of a gateway of its own: whether that is too long",
        u64::from(own.stale),
    );
    page.single(
        "rowhouse_deploy_directory_versions_total",
        "counter",
        "Of a gateway of its own: versions put in force",
        own.versions,
    );
    page.single(
        "rowhouse_deploy_shipped_frames_total",
        "counter",
        "Of a gateway of its own: frames of the journal that the control plane has taken",
        own.shipped,
    );
}

fn lanes(page: &mut Page, journal: &JournalStatus) {
    page.family("rowhouse_journal_appended_total", "counter", "Frames appended, by lane");
    for lane in &journal.lanes {
        page.sample("rowhouse_journal_appended_total", &[("lane", &lane.lane)], lane.next_sequence);
    }
    page.family(
        "rowhouse_journal_unread_frames",
        "gauge",
        "Frames that a projection has not passed, by lane",
    );
    for lane in &journal.lanes {
        let unread = lane.next_sequence.saturating_sub(lane.released_sequence);
        page.sample("rowhouse_journal_unread_frames", &[("lane", &lane.lane)], unread);
    }
    page.family("rowhouse_journal_bytes", "gauge", "Size of the segments, by lane");
    for lane in &journal.lanes {
        page.sample("rowhouse_journal_bytes", &[("lane", &lane.lane)], lane.bytes);
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> = labels.iter().map(|(key, text)| format!("{key}=\"{text}\"")).collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut below = 0;
        for (at, count) in histogram.counts.iter().enumerate() {
            below += count;
            let bound = LATENCY_BOUNDS_US.get(at).map_or("+Inf".to_owned(), |us| seconds(*us));
            self.sample(&format!("{name}_bucket"), &[("le", &bound)], below);
        }
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {below}", seconds(histogram.sum_us));
    }
}

/// Microseconds as seconds, exactly.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_cumulated_and_end_with_all() {
        let mut histogram = Histogram { sum_us: 1_500_000, ..Histogram::default() };
        histogram.counts[0] = 2;
        histogram.counts[LATENCY_BOUNDS_US.len()] = 1;
        let mut page = Page::default();
        page.histogram("x_seconds", "Help", &histogram);
        assert!(page.0.contains("x_seconds_bucket{le=\"0.000100\"} 2\n"), "{}", page.0);
        assert!(page.0.contains("x_seconds_bucket{le=\"30.000000\"} 2\n"));
        assert!(
            page.0.contains("x_seconds_bucket{le=\"+Inf\"} 3\nx_seconds_sum 1.500000\nx_seconds_count 3\n")
        );
    }
}
