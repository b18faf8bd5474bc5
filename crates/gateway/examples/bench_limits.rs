//! What a decision of a limit costs in memory: for `bench/limits`. Prints one line of JSON.

fn main() {
    let costs = rowhouse_gateway::limit_costs();
    println!(
        "{{\"local_p50_ns\":{:.1},\"local_six_p50_ns\":{:.1},\"leased_p50_ns\":{:.1}}}",
        costs.local_p50_ns, costs.local_six_p50_ns, costs.leased_p50_ns
    );
}
