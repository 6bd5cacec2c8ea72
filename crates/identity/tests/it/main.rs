//! Tests of the crate's boundary: what is presented, and who that is or why it does not count.

#[cfg(test)]
mod accepted;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod dpop;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod made;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod operators_abroad;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod saml;
#[cfg(test)]
mod saml_attacks;
#[cfg(test)]
mod saml_made;
#[cfg(test)]
mod saml_operators;
#[cfg(test)]
mod saml_wrapped;
#[cfg(test)]
mod signing;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod upstream_connect;
#[cfg(test)]
mod upstream_exchange;
