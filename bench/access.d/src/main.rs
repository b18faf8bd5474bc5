//! What deciding costs: over 200,000 principals in 1,000 tenants, each question to a tenant and a principal that no cache foresees, over one
//! that is hot, on a thing that four others hold, and under a condition; what verifying an API key costs; what compiling and explaining
//! cost; and what the same questions cost Cedar and casbin, which must answer the same.
//!
//! Every figure is of the functions that the gateway calls, with the look-up of the tenant before. How it is timed:
//!
//! * **p50** of what takes less than a microsecond: batches of 64 different questions between two looks at the clock, divided; the median
//!   over the batches. Neighbouring questions overlap in the processor, as those of a busy gateway's requests do not: it is what a decision
//!   takes of the processor, not how long one waits for it.
//! * **p99** of the same: each question alone between two looks at the clock, which wait for what is under way, less what two looks with
//!   nothing between them take at the median of the same run. This is how long one waits, memory included.
//! * What takes microseconds is timed one by one, and nothing is taken off.
//! * Allocations and bytes are counted by the allocator, not estimated.
//!
//! On a busy machine every p99 is the neighbours'. `--quick` asks a tenth as often.

mod compiled;
mod condition;
mod decisions;
mod fixture;
mod keys;
mod measure;
mod peers;

use measure::Figures;

fn main() {
    let share = if std::env::args().any(|own| own == "--quick") { 10 } else { 1 };
    let mut figures = Figures::default();
    let fixture = fixture::Fixture::new(&mut figures);
    decisions::measure(&fixture, 2_000_000 / share, &mut figures);
    condition::measure(&fixture, 200_000 / share, &mut figures);
    keys::measure(&fixture, 1_000_000 / share, &mut figures);
    compiled::measure(&fixture, 200 / share, &mut figures);
    peers::measure(&fixture, 20_000 / share, &mut figures);
    println!("{}", figures.written());
}
