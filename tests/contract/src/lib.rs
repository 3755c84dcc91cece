//! The contract of `proto/` held against running services: who may call what, and what each RPC promises. Everything is
//! in `tests/`; the golden matrix is `access-matrix.txt` beside this crate's manifest.
