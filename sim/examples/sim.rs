//! Runs seeds: `sim FIRST [COUNT]`.
fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let first = args.next().unwrap_or(1);
    let count = args.next().unwrap_or(1);
    let mut bad = 0;
    for seed in first..first + count {
        let started = std::time::Instant::now();
        let outcome = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(sim::simulate(seed));
        if count == 1 {
            for line in &outcome.history {
                println!("{line}");
            }
        }
        if !outcome.violations.is_empty() || count == 1 || std::env::var("ALL").is_ok() {
            println!("seed {seed}: {:?} lines {} rest {:?} rev {} {:?}", started.elapsed(), outcome.history.len(), outcome.rest, outcome.revisions, outcome.violations);
        }
        bad += u64::from(!outcome.violations.is_empty());
    }
    println!("{bad} of {count} bad");
}
