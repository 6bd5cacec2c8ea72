//! How often strangers may do what needs no login: each address, and all. Requesters' pages are read from the state, and nobody is
//! to guess ids at speed. A login that is begun and a client that registers are kept. What the token endpoint refuses is logged.
//!
//! Invariant: only addresses that were let in lately are remembered, so that the bound for all bounds them too.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Looks of an address at pages: 60 at once, then ten a second. A page asks again every five seconds, and a proxy has many clients.
const PAGES: Rate = Rate { each_ms: 100, burst: 60 };

/// Logins that an address begins: 60 at once, then two a second. So it takes an eighth of the places that there are for ten minutes,
/// and, if each names another client's document that does not come, ten of the sixteen that are fetched at a time.
const LOGINS: Rate = Rate { each_ms: 500, burst: 60 };

/// Clients that an address registers: 30 at once, then one in two seconds: a third of those that are kept at least for ten minutes.
const REGISTRATIONS: Rate = Rate { each_ms: 2_000, burst: 30 };

/// What an address is refused at the token endpoint: 60 at once, then ten a second.
const REFUSALS: Rate = Rate { each_ms: 100, burst: 60 };

/// What all may: 400 at once, then 200 a second.
const OF_ALL: Rate = Rate { each_ms: 5, burst: 400 };

/// Addresses after which those that have rested are forgotten.
const ADDRESSES: usize = 2048;

/// Who has come lately.
#[derive(Debug)]
pub(crate) struct Visits {
    of_one: Rate,
    /// Locked for one look.
    levels: Mutex<Levels>,
}

/// Each is the moment at which nothing counts any more, in milliseconds.
#[derive(Debug, Default)]
struct Levels {
    all: u64,
    of: HashMap<IpAddr, u64>,
}

/// So many at once, and then one in this time.
#[derive(Debug, Clone, Copy)]
struct Rate {
    each_ms: u64,
    burst: u64,
}

impl Visits {
    /// Looks at pages.
    pub(crate) fn pages() -> Visits {
        Visits::within(PAGES)
    }

    /// Logins that are begun.
    pub(crate) fn logins() -> Visits {
        Visits::within(LOGINS)
    }

    /// Clients that register.
    pub(crate) fn registrations() -> Visits {
        Visits::within(REGISTRATIONS)
    }

    /// What the token endpoint refuses.
    pub(crate) fn refusals() -> Visits {
        Visits::within(REFUSALS)
    }

    fn within(of_one: Rate) -> Visits {
        Visits { of_one, levels: Mutex::default() }
    }

    /// Counts a visit, if it may be; else gives the seconds after which it may. `None`: it comes from this machine's socket.
    pub(crate) fn enter(&self, address: Option<IpAddr>, now_ms: u64) -> Result<(), u64> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let address = address.map(network);
        let level = address.and_then(|address| levels.of.get(&address).copied()).unwrap_or_default();
        let of_one = self.of_one.after(level, now_ms)?;
        levels.all = OF_ALL.after(levels.all, now_ms)?;
        if let Some(address) = address {
            if levels.of.len() >= ADDRESSES {
                levels.of.retain(|_, level| *level > now_ms);
            }
            levels.of.insert(address, of_one);
        }
        Ok(())
    }
}

impl Rate {
    /// The level after one more; or how many seconds it is too early for that.
    fn after(self, level: u64, now_ms: u64) -> Result<u64, u64> {
        // A clock that was set back holds nobody up for longer than usual.
        let most = now_ms.saturating_add(self.each_ms.saturating_mul(self.burst));
        let next = level.clamp(now_ms, most).saturating_add(self.each_ms);
        match next.saturating_sub(most) {
            0 => Ok(next),
            early => Err(early.div_ceil(1000)),
        }
    }
}

/// Whoever has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{ADDRESSES, Visits};

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_share() {
        let visits = Visits::pages();
        let first = address("192.0.2.1");
        let let_in = (0..100).filter(|_| visits.enter(first, 5_000).is_ok()).count();
        assert_eq!(let_in, 60);
        assert_eq!(visits.enter(first, 5_000), Err(1), "it is told when to come again");
        assert_eq!(visits.enter(address("::ffff:192.0.2.1"), 5_000), Err(1), "written in another way");
        assert_eq!(visits.enter(address("192.0.2.2"), 5_000), Ok(()), "others are not held up");
        assert_eq!(visits.enter(first, 5_099), Err(1));
        assert_eq!(visits.enter(first, 5_100), Ok(()));
        assert_eq!(visits.enter(first, 5_100), Err(1));
        assert_eq!((0..100).filter(|_| visits.enter(first, 60_000).is_ok()).count(), 60, "it has rested");
        assert_eq!(visits.enter(first, 0), Err(1), "a clock that was set back");
    }

    #[test]
    fn what_is_kept_has_shares_of_its_own() {
        for (name, visits, at_once, in_ten_minutes) in [
            ("pages", Visits::pages(), 60, 6_000),
            ("logins", Visits::logins(), 60, 1_200),
            ("registrations", Visits::registrations(), 30, 300),
            ("refusals", Visits::refusals(), 60, 6_000),
        ] {
            let first = address("192.0.2.1");
            let let_in = |now| (0..100).filter(|_| visits.enter(first, now).is_ok()).count();
            assert_eq!(let_in(0), at_once, "{name}");
            let later: usize = (1..=6_000).map(|tenth| let_in(tenth * 100)).sum();
            assert_eq!(later, in_ten_minutes, "{name}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let visits = Visits::pages();
        let let_in =
            |second: u16| visits.enter(address(&format!("2001:db8:0:{second}::{second}")), 1).is_ok();
        let of_one =
            (0..100_u16).filter(|last| visits.enter(address(&format!("2001:db8::{last}")), 1).is_ok());
        assert_eq!(of_one.count(), 60);
        assert!(let_in(1) && let_in(2));
    }

    #[test]
    fn all_have_a_bound_and_few_are_remembered() {
        let visits = Visits::pages();
        let at = |moment: u64| {
            let enters = |number: u32| visits.enter(Some(IpAddr::from(number.to_be_bytes())), moment).is_ok();
            (0..10_000_u32).filter(|number| enters(*number)).count()
        };
        assert_eq!(at(1), 400);
        assert_eq!(at(1_001), 200, "a second later");
        for second in 2..60 {
            at(second * 1_000 + 1);
        }
        assert!(visits.levels.lock().unwrap().of.len() <= ADDRESSES, "those that have rested are forgotten");
        let socket = Visits::pages();
        assert_eq!((0..1_000).filter(|_| socket.enter(None, 1).is_ok()).count(), 400);
    }
}
