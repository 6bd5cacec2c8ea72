//! Tests of the ledger at its boundary: leaves in, tiles, proofs, reports and documents out.

#[cfg(test)]
mod checkpoint;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod made;
#[cfg(test)]
mod payload;
#[cfg(test)]
mod record;
#[cfg(test)]
mod sequence;
#[cfg(test)]
mod shelf;
#[cfg(test)]
mod tree;
#[cfg(test)]
mod verify;
