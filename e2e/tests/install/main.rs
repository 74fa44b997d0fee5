//! What a real API server makes of `config/`: it renders, is accepted whole, runs under the strictest standard for pods, and
//! grants what is written down in `access.txt` and no more.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's report")]

mod access;
mod bounds;
mod image;
mod installed;
mod people;
mod removed;
mod rendered;
