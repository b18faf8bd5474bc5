//! The version of a PostgreSQL server, and the floor below which known holes are open.
//!
//! A server below the floor is used all the same: Debian's base image lags behind its security archive, and refusing would turn a
//! warning into an outage. [`BelowFloor`] is a value for a banner, with the command that cures it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// First minor release of each major without the row-level-security holes that are public.
const FLOOR: [Version; 4] = [
    Version { major: 15, minor: 20 },
    Version { major: 16, minor: 16 },
    Version { major: 17, minor: 12 },
    Version { major: 18, minor: 7 },
];

/// Oldest major that Rowhouse runs on.
pub const OLDEST_MAJOR: u32 = 15;

/// Major and minor release, as in `15.20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// Reads what `postgres --version` prints, for example `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    /// A development or beta release (`19beta1`) has minor 0.
    pub fn parse(printed: &str) -> Option<Version> {
        let word = printed.trim().strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
        let mut parts = word.split(|letter: char| !letter.is_ascii_digit());
        let major = parts.next()?.parse().ok()?;
        let minor = if word.contains('.') { parts.next()?.parse().ok()? } else { 0 };
        Some(Version { major, minor })
    }

    /// What is wrong with this release, if it is older than the floor of its major.
    pub fn below_floor(self) -> Option<BelowFloor> {
        let floor = FLOOR.into_iter().find(|floor| floor.major == self.major)?;
        (self < floor).then_some(BelowFloor { found: self, floor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// The server is older than the first release without known holes in row-level security.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BelowFloor {
    pub found: Version,
    pub floor: Version,
}

impl BelowFloor {
    /// The package command that installs a release without the holes, on Debian and Ubuntu.
    pub fn cure(&self) -> String {
        format!("apt-get update && apt-get install --only-upgrade postgresql-{}", self.found.major)
    }
}

impl fmt::Display for BelowFloor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "PostgreSQL {} has known holes in row-level security, closed in {}; run: {}",
            self.found,
            self.floor,
            self.cure()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_print() {
        let table = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some((15, 18))),
            ("postgres (PostgreSQL) 18.6", Some((18, 6))),
            ("postgres (PostgreSQL) 19beta1", Some((19, 0))),
            ("postgres (PostgreSQL) 19devel", Some((19, 0))),
            ("postgres (PostgreSQL) x", None),
            ("mysqld 8.0", None),
            ("", None),
        ];
        for (printed, expected) in table {
            let expected = expected.map(|(major, minor)| Version { major, minor });
            assert_eq!(Version::parse(printed), expected, "{printed:?}");
        }
    }

    #[test]
    fn warns_below_the_floor_only() {
        let table =
            [(15, 19, true), (15, 20, false), (16, 15, true), (17, 12, false), (18, 6, true), (19, 0, false)];
        for (major, minor, warned) in table {
            let version = Version { major, minor };
            assert_eq!(version.below_floor().is_some(), warned, "{version}");
        }
    }

    #[test]
    fn names_the_package_that_cures_it() {
        let warning = Version { major: 15, minor: 18 }.below_floor().expect("15.18 is below 15.20");
        assert!(warning.to_string().contains("apt-get install --only-upgrade postgresql-15"), "{warning}");
    }
}
