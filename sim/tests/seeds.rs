//! Many runs of the simulation, and that each repeats.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

fn run(seed: u64) -> sim::Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(sim::simulate(seed))
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 1..=10 {
        let (one, other) = (run(seed), run(seed));
        for (one, other) in one.history.iter().zip(&other.history) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(one, other, "seed {seed}");
    }
}
