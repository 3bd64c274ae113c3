//! Wrong tokens and passwords, counted by address. After some, answers are delayed; after more, the address is shut out
//! for a while.
//!
//! A right token is accepted all the same, since nobody finds one by guessing. A password may be a word: it is not even
//! compared while its sender's address is shut out.

use super::wire::peer::Peer;
use crate::core::time::Boot;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The number of wrong guesses that are answered at once, as mistakes.
const FREE: u32 = 3;
/// The number of wrong guesses that shuts an address out.
const MOST: u32 = 10;
/// How long an address is shut out.
const SHUT_OUT: Duration = Duration::from_secs(60);
/// After this time without a wrong guess an address begins anew.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// The delay of the first delayed answer; each next one is twice as long, up to the longest.
const SHORTEST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// The number of addresses that are remembered. Beyond it, the one with the oldest guess is forgotten.
const ADDRESSES: usize = 4096;

/// A source of guesses that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// This machine: none of its users shuts out the others.
    Here,
    /// An IPv4 address, or the network of an IPv6 address, which is one customer's (/64).
    There(IpAddr),
}

impl Source {
    fn of(peer: Peer) -> Self {
        match peer.address.map(|address| address.ip().to_canonical()) {
            None => Self::Here,
            Some(ip) if ip.is_loopback() => Self::Here,
            Some(IpAddr::V6(ip)) => {
                let network = ip.to_bits() & !u128::from(u64::MAX);
                Self::There(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            Some(ip) => Self::There(ip),
        }
    }
}

/// The wrong guesses of one source.
#[derive(Debug, Clone, Copy)]
struct Wrong {
    count: u32,
    last: Boot,
    shut_out_until: Boot,
}

/// How a wrong guess is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuessVerdict {
    /// The guess is answered as wrong after this delay.
    Told(Duration),
    /// The address is shut out for this time.
    ShutOut(Duration),
}

/// All wrong guesses that are remembered.
#[derive(Debug, Default)]
pub struct Guesses(HashMap<Source, Wrong>);

impl Guesses {
    /// For how much longer this peer is shut out.
    pub fn shut_out(&self, peer: Peer, now: Boot) -> Option<Duration> {
        let wrong = self.0.get(&Source::of(peer))?;
        let left = wrong.shut_out_until.since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts a wrong guess, unless its sender is shut out.
    pub fn count(&mut self, peer: Peer, now: Boot) -> GuessVerdict {
        if let Some(left) = self.shut_out(peer, now) {
            return GuessVerdict::ShutOut(left);
        }
        let source = Source::of(peer);
        if !self.0.contains_key(&source) {
            self.make_room();
        }
        let fresh = Wrong {
            count: 0,
            last: now,
            shut_out_until: now,
        };
        let wrong = self.0.entry(source).or_insert(fresh);
        if now.since(wrong.last) >= FORGOTTEN {
            *wrong = fresh;
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = now;
        if source != Source::Here && wrong.count >= MOST {
            wrong.shut_out_until = now.after(SHUT_OUT);
            return GuessVerdict::ShutOut(SHUT_OUT);
        }
        GuessVerdict::Told(delay(wrong.count))
    }

    fn make_room(&mut self) {
        while self.0.len() >= ADDRESSES {
            let oldest = self.0.iter().min_by_key(|(_, wrong)| wrong.last);
            let Some((&oldest, _)) = oldest else { return };
            self.0.remove(&oldest);
        }
    }
}

fn delay(count: u32) -> Duration {
    match count.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => SHORTEST_DELAY
            .saturating_mul(2_u32.saturating_pow(doublings))
            .min(LONGEST_DELAY),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer {
            address: (!address.is_empty())
                .then(|| std::net::SocketAddr::new(address.parse().unwrap(), 1)),
            reached: None,
            is_free: false,
            user: None,
            is_local: false,
        }
    }

    fn at(seconds: u64) -> Boot {
        Boot(0).after(Duration::from_secs(seconds))
    }

    #[test]
    fn guesses_are_slowed_and_then_refused_for_a_while() {
        let mut guesses = Guesses::default();
        let told: Vec<GuessVerdict> = (0..MOST - 1)
            .map(|_| guesses.count(peer("192.0.2.1"), at(5)))
            .collect();
        let delays = [0, 0, 0, 100, 200, 400, 800, 1600, 2000];
        let wanted = delays.map(|ms| GuessVerdict::Told(Duration::from_millis(ms)));
        assert_eq!(told, wanted);
        assert_eq!(guesses.shut_out(peer("192.0.2.1"), at(5)), None);
        for (second, left) in [(5, 60), (6, 59), (64, 1)] {
            let verdict = guesses.count(peer("192.0.2.1"), at(second));
            assert_eq!(verdict, GuessVerdict::ShutOut(Duration::from_secs(left)));
        }
        assert_eq!(guesses.shut_out(peer("192.0.2.1"), at(65)), None);
        // One more wrong guess shuts the address out again, unless it was quiet for long.
        let again = guesses.count(peer("192.0.2.1"), at(65));
        assert_eq!(again, GuessVerdict::ShutOut(SHUT_OUT));
        let later = guesses.count(peer("192.0.2.1"), at(665));
        assert_eq!(later, GuessVerdict::Told(Duration::ZERO));
    }

    #[test]
    fn this_machine_is_only_slowed() {
        let mut guesses = Guesses::default();
        for _ in 0..100 {
            for address in ["", "127.0.0.1", "::1", "::ffff:127.0.0.2"] {
                let verdict = guesses.count(peer(address), at(1));
                assert!(matches!(verdict, GuessVerdict::Told(delay) if delay <= LONGEST_DELAY));
            }
        }
        assert_eq!(guesses.shut_out(peer(""), at(1)), None);
        assert_eq!(guesses.0.len(), 1);
    }

    #[test]
    fn addresses_are_apart_and_networks_are_not() {
        let mut guesses = Guesses::default();
        for n in 0..MOST {
            guesses.count(peer(&format!("2001:db8:0:1::{n}")), at(1));
        }
        for (address, is_shut_out) in [
            ("2001:db8:0:1:ffff::1", true),
            ("2001:db8:0:2::1", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(
                guesses.shut_out(peer(address), at(1)).is_some(),
                is_shut_out,
                "{address}"
            );
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut guesses = Guesses::default();
        for n in 0..2 * ADDRESSES as u64 {
            let address = std::net::Ipv4Addr::from_bits(u32::try_from(n).unwrap() + (10 << 24));
            guesses.count(peer(&address.to_string()), at(n));
        }
        assert_eq!(guesses.0.len(), ADDRESSES);
        let last = Source::of(peer("10.0.31.255"));
        assert!(guesses.0.contains_key(&last));
    }
}
