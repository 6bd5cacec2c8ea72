//! Tests of the index at its boundary: queries as text, entries in, rows out.

#[cfg(test)]
mod backup;
#[cfg(test)]
mod events;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod index;
#[cfg(test)]
mod made;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod pins;
#[cfg(test)]
mod query;
#[cfg(test)]
mod segment;
#[cfg(test)]
mod state;
#[cfg(test)]
mod tasks;
