//! Tests of the index at its boundary: queries as text, entries in, rows out.

mod index;
mod made;
mod query;
