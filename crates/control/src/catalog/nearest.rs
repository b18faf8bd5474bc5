//! The known name that was probably meant by an unknown one.

/// The name with the fewest edits (insert, delete, replace) from `wrong`, if it is near: at most one edit in three
/// characters.
pub fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = wrong.chars().count().div_ceil(3).max(1);
    known
        .map(|name| (edits(wrong, name), name))
        .filter(|(edits, _)| *edits <= near)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (place, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_and_the_far_is_not() {
        let known = ["permission", "priority", "path"];
        let of = |wrong| nearest(wrong, known.into_iter());
        assert_eq!(of("permision"), Some("permission"));
        assert_eq!(of("paht"), Some("path"));
        assert_eq!(of("colour"), None);
        assert_eq!((edits("", "abc"), edits("abc", "abc"), edits("kitten", "sitting")), (3, 0, 3));
    }
}
