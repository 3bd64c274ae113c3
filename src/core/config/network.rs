//! Networks of addresses.

use core::net::IpAddr;
use std::fmt;

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    bits: u8,
}

impl IpNetwork {
    /// The addresses whose first `bits` bits are those of `address`.
    pub fn new(address: IpAddr, bits: u8) -> Self {
        Self { address, bits }
    }

    /// Reads `10.0.0.0/8`, `fd00::/8`, or an address, which is a network of one.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let bits: u8 = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width)?,
            None => width,
        };
        // `contains` is asked about canonical addresses: an IPv4 address in IPv6 form is an IPv4 address there.
        Some(match (address, bits.checked_sub(96)) {
            (IpAddr::V6(mapped), Some(bits)) if mapped.to_ipv4_mapped().is_some() => {
                Self::new(address.to_canonical(), bits)
            }
            (_, _) => Self::new(address, bits),
        })
    }

    /// True if the address, in its canonical form, is one of them.
    pub fn contains(self, address: IpAddr) -> bool {
        let differ = match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                (net.to_bits() ^ address.to_bits()).leading_zeros()
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                (net.to_bits() ^ address.to_bits()).leading_zeros()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        differ >= u32::from(self.bits)
    }

    /// True for a network of IPv6 addresses.
    pub fn is_ipv6(self) -> bool {
        self.address.is_ipv6()
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
