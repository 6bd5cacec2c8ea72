//! What the crate promises at its boundaries, as data.

#[cfg(test)]
mod edit;
#[cfg(test)]
mod era;
#[cfg(test)]
mod fields;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod header;
#[cfg(test)]
mod methods;
#[cfg(test)]
mod outline;
#[cfg(test)]
mod page;
#[cfg(test)]
mod parse;
#[cfg(test)]
mod random;
#[cfg(test)]
mod shown;
#[cfg(test)]
mod tasks;
