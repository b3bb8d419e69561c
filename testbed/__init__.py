"""What tests and benchmarks share: a Hub, an archive, packages to lock, and a way to kill."""
