//! Tests of the gateway's boundaries.

mod compile;
