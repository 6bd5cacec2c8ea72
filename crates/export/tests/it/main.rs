//! Tests of the couriers at their boundary: holds in, requests and mails out.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod made;
#[cfg(test)]
mod payloads;
