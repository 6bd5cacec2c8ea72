//! Judgements, diagnostics and what a bundle can be asked, from outside.

#[cfg(test)]
mod annotations;
#[cfg(test)]
mod budget;
#[cfg(test)]
mod bundles;
#[cfg(test)]
mod decide;
#[cfg(test)]
mod diagnostics;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod made;
#[cfg(test)]
mod pin;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod starter;
#[cfg(test)]
mod typing;
#[cfg(test)]
mod visible;
#[cfg(test)]
mod what_if;
