"""What `benchmarks.bench_peers` runs: ours and a peer's way to the same answer, a module for each kind of work."""
