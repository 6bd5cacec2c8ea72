//! How often somebody may try a password: by the name that is tried, known or not, and by the address that tries.
//!
//! Kept in memory: a restart forgets it, and costs more time than it saves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ledger::Hash;

/// Names and addresses that are remembered. Beyond that nobody new may try until some are forgotten.
const MOST: usize = 10_000;

/// Seconds after the last attempt, when it is forgotten.
const FORGOTTEN: u64 = 900;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// Locked for one look.
    tried: Mutex<HashMap<Hash, Tried>>,
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    times: u32,
    last: u64,
}

/// How much is free, and how long one waits at most after that, in seconds.
#[derive(Debug, Clone, Copy)]
struct Rule {
    free: u32,
    longest: u64,
}

const BY_NAME: Rule = Rule { free: 5, longest: 60 };

/// Many share an address behind a proxy: a stranger must not keep all of them out for long.
const BY_ADDRESS: Rule = Rule { free: 50, longest: 10 };

impl Throttle {
    /// Counts an attempt beforehand, so that many at once count too; the seconds to wait where there were too many.
    pub(super) fn take(&self, name: &str, address: IpAddr, now: u64) -> Result<(), u64> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if tried.len() + 2 > MOST {
            tried.retain(|_, tried| now < tried.last.saturating_add(FORGOTTEN));
        }
        let keys = [(of_name(name), BY_NAME), (of_address(address), BY_ADDRESS)];
        for (key, rule) in &keys {
            match tried.get(key) {
                Some(before) => rule.check(*before, now)?,
                None if tried.len() + 2 > MOST => return Err(BY_NAME.longest),
                None => {}
            }
        }
        for (key, _) in keys {
            let before = tried.entry(key).or_insert(Tried { times: 0, last: now });
            let is_old = now >= before.last.saturating_add(FORGOTTEN);
            *before = Tried { times: if is_old { 1 } else { before.times.saturating_add(1) }, last: now };
        }
        Ok(())
    }

    /// Forgets what was tried of a name: its operator is here.
    pub(super) fn forgive(&self, name: &str, address: IpAddr) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.remove(&of_name(name));
        if let Some(before) = tried.get_mut(&of_address(address)) {
            before.times = before.times.saturating_sub(1);
        }
    }
}

impl Rule {
    fn check(self, before: Tried, now: u64) -> Result<(), u64> {
        let surplus = before.times.saturating_sub(self.free);
        if before.times < self.free {
            return Ok(());
        }
        let wait = 1_u64.checked_shl(surplus.min(32)).unwrap_or(u64::MAX).min(self.longest);
        let until = before.last.saturating_add(wait);
        if now < until { Err(until - now) } else { Ok(()) }
    }
}

fn of_name(name: &str) -> Hash {
    Hash::of(format!("name:{name}").as_bytes())
}

/// All of the loopback is one address: whoever is there has sixteen million of them. So has, of IPv6, who has a network.
fn of_address(address: IpAddr) -> Hash {
    let text = match address.to_canonical() {
        loopback if loopback.is_loopback() => "loopback".to_owned(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x?}", address.segments().get(..4)),
    };
    Hash::of(format!("address:{text}").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Throttle;

    #[test]
    fn who_tries_often_waits_longer_and_longer() {
        let throttle = Throttle::default();
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        for _ in 0..5 {
            throttle.take("mira", here, 100).unwrap();
        }
        assert_eq!(throttle.take("mira", other, 100), Err(1), "wherever it comes from");
        assert_eq!(throttle.take("noor", here, 100), Ok(()), "others are free");
        assert_eq!(throttle.take("mira", here, 101), Ok(()));
        assert_eq!(throttle.take("mira", here, 101), Err(2));
        let mut now = 101;
        for _ in 0..20 {
            now += 60;
            throttle.take("mira", other, now).unwrap();
        }
        assert_eq!(throttle.take("mira", here, now), Err(60), "never longer");
        assert_eq!(throttle.take("mira", here, now + 901), Ok(()), "it is forgotten");
        throttle.forgive("mira", here);
        for _ in 0..5 {
            throttle.take("mira", here, now + 901).unwrap();
        }
    }

    #[test]
    fn an_address_has_its_own_measure() {
        let throttle = Throttle::default();
        let loopback = |last: u8| IpAddr::from([127, 0, 0, last]);
        for one in 0..50_u8 {
            throttle.take(&format!("n{one}"), loopback(one), 100).unwrap();
        }
        assert_eq!(throttle.take("another", loopback(99), 100), Err(1));
        assert_eq!(throttle.take("another", IpAddr::from([192, 0, 2, 1]), 100), Ok(()));
    }
}
