//! Random statements of many tenants on the shared level, and the same ones in a database for each: what comes back must
//! be equal, row by row and error by error. A tenant must not be able to tell from any answer that it is not alone.
//!
//! Tenants take turns statement by statement, each with a transaction of its own open, and use the same ids, so that
//! what one does would show in another's answers if it could. Every statement follows from the seed, which a failure
//! names together with the last statements of the tenant.
//!
//! `ROWHOUSE_DIFFERENTIAL=<statements>[:<seed>]` runs another number of statements than the suite does.

mod grammar;
mod pair;

use std::time::{Duration, Instant};

use grammar::Grammar;
use pair::{Pair, Pairs};

/// Tenants that take turns.
const TENANTS: u128 = 8;
/// What the suite runs, and for how long at most.
const STATEMENTS: u64 = 6_000;
const LONGEST: Duration = Duration::from_secs(25);

/// Repeatable randomness (SplitMix64, Steele et al. 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `sides` - 1.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[usize::try_from(self.roll(all.len() as u64)).expect("few")]
    }
}

/// How much to run: as the environment says, else what the suite does.
fn asked() -> (u64, u64, Duration) {
    let Ok(text) = std::env::var("ROWHOUSE_DIFFERENTIAL") else { return (STATEMENTS, 1, LONGEST) };
    let (statements, seed) = text.split_once(':').unwrap_or((&text, "1"));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text} is not a number"));
    (number(statements), number(seed), Duration::from_secs(7_200))
}

#[tokio::test]
async fn on_shared_tables_a_tenant_gets_the_answers_of_a_database_of_its_own() {
    let (statements, seed, longest) = asked();
    let begun = Instant::now();
    let pairs = Pairs::start(TENANTS).await;
    let mut dice = Dice::new(seed);
    let mut players: Vec<(Grammar, Pair)> = Vec::new();
    for number in 1..=TENANTS {
        let grammar = Grammar::new(Dice::new(seed ^ (number as u64) << 32), number);
        players.push((grammar, pairs.pair(number).await));
    }
    let mut run = 0;
    while run < statements && begun.elapsed() < longest {
        let turn = usize::try_from(dice.roll(players.len() as u64)).expect("few");
        let (grammar, pair) = &mut players[turn];
        let statement = grammar.next();
        let ended =
            pair.both(&statement).await.unwrap_or_else(|difference| panic!("seed {seed}: {difference}"));
        grammar.told(ended);
        run += 1;
    }
    let mut seen = pair::Seen::default();
    for (_, pair) in &mut players {
        pair.whole().await.unwrap_or_else(|difference| panic!("seed {seed}: {difference}"));
        seen.add(&pair.seen);
    }
    println!("{run} statements of {TENANTS} tenants in {:?}, seed {seed}: {seen:?}", begun.elapsed());
    // Equal because nothing happened would prove nothing.
    assert!(run == statements || begun.elapsed() >= longest);
    assert!(seen.rows > run / 2, "{seen:?}");
    assert!(seen.changed > run / 10, "{seen:?}");
    assert!(seen.committed > run / 60, "{seen:?}");
    assert!(seen.errors.len() >= 5 && seen.errors.values().sum::<u64>() < run / 2, "{seen:?}");
}

/// With the policies off, the first statements must already come out differently.
#[tokio::test]
async fn without_policies_the_difference_is_seen() {
    let pairs = Pairs::start(2).await;
    pairs.switch_policies_off().await;
    let mut players = Vec::new();
    for number in 1..=2 {
        players.push((Grammar::new(Dice::new(number as u64), number), pairs.pair(number).await));
    }
    for turn in 0..2_000 {
        let (grammar, pair) = &mut players[turn % 2];
        match pair.both(&grammar.next()).await {
            Ok(ended) => grammar.told(ended),
            Err(_) => return,
        }
    }
    panic!("2,000 statements without policies showed nothing");
}
