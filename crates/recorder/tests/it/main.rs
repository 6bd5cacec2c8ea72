//! The recorder from outside: what was acknowledged is in the log, whatever happens in between.

#[cfg(test)]
mod commit;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod history;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod space;
#[cfg(test)]
mod support;
