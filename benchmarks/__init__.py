"""What `make bench` runs: reespack and its peers side by side. `docs/benchmarks.md` explains it."""
