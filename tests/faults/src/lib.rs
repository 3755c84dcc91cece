//! Faults as tests: see `tests/`.
