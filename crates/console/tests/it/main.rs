//! Tests of the crate's boundary: a console on a port, and whoever comes to it.

#[cfg(test)]
mod approvals;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod made;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod saml;
