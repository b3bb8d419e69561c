"""What tests and benchmarks have in common: a real Hub, a small archive, and a way to kill."""
