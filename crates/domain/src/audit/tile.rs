//! Tiles of C2SP `tlog-tiles`: the tree and the leaves cut into immutable files of 256, so that a log is served and
//! followed like static content.

use super::tree::{Hash, root};

/// Hashes or entries of a full tile.
pub const WIDTH: u64 = 256;
/// Highest level of a tile.
pub const LEVEL_MAX: u8 = 5;

/// Which tile, and how much of it: `width` is 1 to 256, full at 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// `None` for a bundle of entries.
    pub level: Option<u8>,
    pub number: u64,
    pub width: u64,
}

impl Tile {
    /// The leaves [from, to) that hash `position` of this tile stands for.
    pub fn leaves(&self, position: u64) -> (u64, u64) {
        let span = WIDTH.pow(u32::from(self.level.unwrap_or(0)));
        let first = (self.number * WIDTH + position) * span;
        (first, first + span)
    }

    /// Whether a log of `size` leaves has it.
    pub fn is_in(&self, size: u64) -> bool {
        let span = WIDTH.pow(u32::from(self.level.unwrap_or(0)));
        let end = self.number.checked_mul(WIDTH).and_then(|first| first.checked_add(self.width));
        (1..=WIDTH).contains(&self.width) && end.is_some_and(|end| end <= size / span)
    }

    /// The path below the log's prefix: `tile/<L>/<N>[.p/<W>]`.
    pub fn path(&self) -> String {
        let level = self.level.map_or_else(|| "entries".to_owned(), |level| level.to_string());
        let partial = if self.width == WIDTH { String::new() } else { format!(".p/{}", self.width) };
        format!("tile/{level}/{}{partial}", number_path(self.number))
    }

    /// Reads what [`Tile::path`] writes.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => {
                (number, plain_number(width).filter(|width| (1..WIDTH).contains(width))?)
            }
            None => (rest, WIDTH),
        };
        let level = match level {
            "entries" => None,
            level => Some(u8::try_from(plain_number(level)?).ok().filter(|level| *level <= LEVEL_MAX)?),
        };
        let number =
            number.split('/').map(|group| group.strip_prefix('x').unwrap_or(group)).collect::<String>();
        let tile = Tile { level, number: number.parse().ok()?, width };
        (tile.path() == path).then_some(tile)
    }
}

fn plain_number(text: &str) -> Option<u64> {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// Groups of three digits, all but the last with an `x`: 1234067 is `x001/x234/067`.
fn number_path(number: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// The tiles (each level's last may be partial) that a log of `size` leaves has at `level`.
pub fn tiles_of(size: u64, level: u8) -> impl Iterator<Item = Tile> {
    let hashes = size / WIDTH.pow(u32::from(level));
    let full = (0..hashes / WIDTH).map(move |number| Tile { level: Some(level), number, width: WIDTH });
    let rest = hashes % WIDTH;
    let partial = (rest > 0).then_some(Tile { level: Some(level), number: hashes / WIDTH, width: rest });
    full.chain(partial)
}

/// The 32-byte hashes of a tile, from those of the level below (at level 0: the leaf hashes).
pub fn hashes_above(below: &[Hash]) -> Vec<Hash> {
    below.chunks_exact(WIDTH as usize).map(root).collect()
}

/// A bundle of entries: each leaf after its length in two bytes. `None` if a leaf is longer than 65,535 bytes.
pub fn entry_bundle<'l>(leaves: impl IntoIterator<Item = &'l [u8]>) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for leaf in leaves {
        bundle.extend(u16::try_from(leaf.len()).ok()?.to_be_bytes());
        bundle.extend(leaf);
    }
    Some(bundle)
}

/// The leaves of a bundle; `None` if it is cut off.
pub fn read_entry_bundle(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let (leaf, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        leaves.push(leaf);
        bundle = rest;
    }
    bundle.is_empty().then_some(leaves)
}
