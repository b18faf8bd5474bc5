//! Paths of routes as one tree of segments, and which of two paths is the more specific. Of all routes whose path matches
//! the tree tells each; the table ranks them.

use std::cmp::Reverse;

/// A path as routes declare it, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
    /// It ends in `/*`: at least one more segment follows, which may be empty.
    is_prefix: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    /// Any segment that is not empty, under this name.
    Capture(Box<str>),
}

/// What an open end is told by in captures.
const REST: &str = "rest";

impl Pattern {
    /// Reads `/v1/stamps`, `/v1/stamps/{stamp_id}` or `/v1/files/*`; or says what is wrong with it.
    pub(super) fn parse(path: &str) -> Result<Self, &'static str> {
        let Some(inner) = path.strip_prefix('/') else { return Err("it must start with a slash") };
        if path.contains("{*") {
            return Err("write a prefix as `/…/*`");
        }
        let (inner, is_prefix) = match path.strip_suffix("/*") {
            Some(prefix) => (prefix.strip_prefix('/').unwrap_or_default(), true),
            None if path.ends_with('*') => return Err("`*` may only stand after a slash"),
            None => (inner, false),
        };
        if inner.contains('*') {
            return Err("`*` may only stand at the end, after a slash");
        }
        let whole_path = is_prefix && path == "/*";
        let pieces = if whole_path { Vec::new() } else { inner.split('/').collect::<Vec<_>>() };
        let segments: Vec<Segment> = pieces.into_iter().map(segment).collect::<Result<_, _>>()?;
        let mut names: Vec<&str> = segments.iter().filter_map(Segment::name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two of its places have one name");
        }
        if is_prefix && names.contains(&REST) {
            return Err("`rest` is what `*` is called");
        }
        Ok(Pattern { segments, is_prefix })
    }

    /// The more specific sorts first: without captures, then with them, then prefixes; the more literal segments, then
    /// the more segments.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let literals = self.segments.iter().filter(|segment| segment.name().is_none()).count();
        let form = match (self.is_prefix, literals == self.segments.len()) {
            (false, true) => 0,
            (false, false) => 1,
            (true, _) => 2,
        };
        let by_length = if self.is_prefix { self.segments.len() } else { 0 };
        (form, Reverse(by_length), Reverse(literals), Reverse(self.segments.len()))
    }

    /// Whether it takes `path`, by itself.
    pub(super) fn covers(&self, path: &str) -> bool {
        let mut given = path.strip_prefix('/').unwrap_or(path).split('/');
        let all = self.segments.iter().all(|segment| given.next().is_some_and(|own| segment.takes(own)));
        all && given.next().is_some() == self.is_prefix
    }

    /// A path that both take, if there is one.
    pub(super) fn shared_with(&self, other: &Pattern) -> Option<String> {
        let (short, long) =
            if self.segments.len() <= other.segments.len() { (self, other) } else { (other, self) };
        let fits = match long.segments.len() - short.segments.len() {
            0 => short.is_prefix == long.is_prefix,
            _ => short.is_prefix,
        };
        let both = short.segments.iter().zip(&long.segments).all(|(a, b)| a.meets(b));
        if !fits || !both {
            return None;
        }
        let example = |place: usize| {
            let own = short.segments.get(place).filter(|own| own.name().is_none());
            own.or(long.segments.get(place))
                .map_or("x", |segment| segment.name().map_or_else(|| segment.text(), |_| "x"))
        };
        let mut path: String = (0..long.segments.len()).map(|place| format!("/{}", example(place))).collect();
        if long.is_prefix {
            path.push_str("/x");
        }
        Some(path)
    }

    /// The value of a capture in a path that the pattern takes; `rest` is what stands in the place of `*`.
    pub(super) fn capture<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        let inner = path.strip_prefix('/').unwrap_or(path);
        if self.is_prefix && name == REST {
            let mut pieces = inner.splitn(self.segments.len() + 1, '/');
            return pieces.nth(self.segments.len());
        }
        let place = self.segments.iter().position(|segment| segment.name() == Some(name))?;
        inner.split('/').nth(place)
    }

    /// The names of its captures, in their order; not that of an open end.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    /// Whether `capture` has a value for a name.
    pub(super) fn has(&self, name: &str) -> bool {
        (self.is_prefix && name == REST) || self.names().any(|own| own == name)
    }
}

fn segment(text: &str) -> Result<Segment, &'static str> {
    let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    match name {
        Some(name) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
            Ok(Segment::Capture(name.into()))
        }
        None if !text.contains(['{', '}']) => Ok(Segment::Literal(text.into())),
        _ => Err("a place is a whole segment, as in `/{stamp_id}/`"),
    }
}

impl Segment {
    fn name(&self) -> Option<&str> {
        if let Segment::Capture(name) = self { Some(name) } else { None }
    }

    fn text(&self) -> &str {
        match self {
            Segment::Literal(text) | Segment::Capture(text) => text,
        }
    }

    fn takes(&self, given: &str) -> bool {
        match self {
            Segment::Literal(own) => **own == *given,
            Segment::Capture(_) => !given.is_empty(),
        }
    }

    fn meets(&self, other: &Segment) -> bool {
        match (self, other) {
            (Segment::Literal(a), Segment::Literal(b)) => a == b,
            (Segment::Literal(own), Segment::Capture(_)) | (Segment::Capture(_), Segment::Literal(own)) => {
                !own.is_empty()
            }
            (Segment::Capture(_), Segment::Capture(_)) => true,
        }
    }
}

/// A tree of patterns. What is at a node is told by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// In the order of their text.
    literals: Vec<(Box<str>, usize)>,
    capture: Option<usize>,
    /// Patterns that end here.
    ends: Vec<usize>,
    /// Patterns that end in `/*` here.
    prefixes: Vec<usize>,
}

impl Tree {
    /// Puts a pattern in, by number.
    pub(super) fn insert(&mut self, pattern: &Pattern, number: usize) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for segment in &pattern.segments {
            at = match segment {
                Segment::Capture(_) => match self.nodes[at].capture {
                    Some(next) => next,
                    None => {
                        let next = self.grow();
                        self.nodes[at].capture = Some(next);
                        next
                    }
                },
                Segment::Literal(text) => {
                    match self.nodes[at].literals.binary_search_by(|(own, _)| own.cmp(text)) {
                        Ok(place) => self.nodes[at].literals[place].1,
                        Err(place) => {
                            let next = self.grow();
                            self.nodes[at].literals.insert(place, (text.clone(), next));
                            next
                        }
                    }
                }
            };
        }
        let node = &mut self.nodes[at];
        if pattern.is_prefix { node.prefixes.push(number) } else { node.ends.push(number) }
    }

    fn grow(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// Tells each pattern that takes `path`, in no order. No allocation; as many steps as there are ways that match.
    pub(super) fn each(&self, path: &str, mut tell: impl FnMut(usize)) {
        let inner = path.strip_prefix('/');
        if let (Some(inner), Some(root)) = (inner, self.nodes.first()) {
            self.walk(root, Some(inner), &mut tell);
        }
    }

    fn walk(&self, node: &Node, left: Option<&str>, tell: &mut impl FnMut(usize)) {
        let Some(left) = left else { return node.ends.iter().copied().for_each(tell) };
        node.prefixes.iter().copied().for_each(&mut *tell);
        let (segment, after) = match left.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (left, None),
        };
        if let Ok(place) = node.literals.binary_search_by(|(own, _)| (**own).cmp(segment)) {
            self.walk(&self.nodes[node.literals[place].1], after, tell);
        }
        if let Some(next) = node.capture.filter(|_| !segment.is_empty()) {
            self.walk(&self.nodes[next], after, tell);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(path: &str) -> Pattern {
        Pattern::parse(path).expect(path)
    }

    #[test]
    fn paths_that_both_take() {
        for (one, other, expected) in [
            ("/v1/{a}", "/v1/{b}", Some("/v1/x")),
            ("/v1/{a}/c", "/v1/b/{d}", Some("/v1/b/c")),
            ("/v1/{a}/c", "/v1/b/d", None),
            ("/v1/{a}", "/v1/b/c", None),
            ("/v1/*", "/v1/b/c", Some("/v1/b/c")),
            ("/v1/*", "/v1", None),
            ("/v1/*", "/v1/", Some("/v1/")),
            ("/{a}/*", "/v1/*", Some("/v1/x")),
            ("/*", "/{a}/b/*", Some("/x/b/x")),
            ("/*", "/", Some("/")),
            ("/{a}", "/", None),
        ] {
            let (one, other) = (pattern(one), pattern(other));
            for (a, b) in [(&one, &other), (&other, &one)] {
                let shared = a.shared_with(b);
                assert_eq!(shared.as_deref(), expected, "{a:?} {b:?}");
                assert!(shared.is_none_or(|path| a.covers(&path) && b.covers(&path)));
            }
        }
    }

    #[test]
    fn captures_stand_where_they_are_named() {
        let deep = pattern("/v1/{a}/pages/{b}");
        assert_eq!(
            (deep.capture("b", "/v1/x/pages/7"), deep.capture("c", "/v1/x/pages/7")),
            (Some("7"), None)
        );
        let prefix = pattern("/v1/{a}/*");
        assert_eq!(prefix.capture("rest", "/v1/x/y/z"), Some("y/z"));
        assert_eq!(prefix.capture("rest", "/v1/x/"), Some(""));
        assert_eq!(pattern("/*").capture("rest", "/a/b"), Some("a/b"));
        assert!(prefix.has("rest") && prefix.has("a") && !deep.has("rest"));
    }

    #[test]
    fn what_is_no_path() {
        for path in [
            "",
            "v1",
            "/v1/{*rest}",
            "/v1/*/x",
            "/v1*",
            "/v1/{a}{b}",
            "/v1/{a}/{a}",
            "/x{a}",
            "/{}",
            "/{rest}/*",
        ] {
            assert!(Pattern::parse(path).is_err(), "{path}");
        }
    }

    fn any_path(wild: bool) -> impl Strategy<Value = String> {
        let segment = if wild { "(a|b||\\{x\\})" } else { "(a|b|)" };
        (proptest::collection::vec(segment, 1..4), any::<bool>()).prop_map(move |(segments, prefix)| {
            let mut names = 0;
            let mut path = String::new();
            for segment in segments {
                names += 1;
                path.push('/');
                path.push_str(&segment.replace('x', &format!("x{names}")));
            }
            if wild && prefix { path + "/*" } else { path }
        })
    }

    proptest! {
        /// The tree finds what each pattern by itself takes, and two patterns share a path exactly if some path is both's.
        #[test]
        fn the_tree_agrees_with_its_patterns(
            patterns in proptest::collection::vec(any_path(true), 1..8),
            paths in proptest::collection::vec(any_path(false), 1..30),
        ) {
            let patterns: Vec<Pattern> = patterns.iter().map(|path| pattern(path)).collect();
            let mut tree = Tree::default();
            patterns.iter().enumerate().for_each(|(number, own)| tree.insert(own, number));
            for path in &paths {
                let mut found = Vec::new();
                tree.each(path, |number| found.push(number));
                found.sort_unstable();
                let taken: Vec<usize> = (0..patterns.len()).filter(|number| patterns[*number].covers(path)).collect();
                prop_assert_eq!(&found, &taken, "{}", path);
                for first in &taken {
                    for second in &taken {
                        let shared = patterns[*first].shared_with(&patterns[*second]);
                        prop_assert!(shared.is_some(), "{} is both's", path);
                    }
                }
            }
        }
    }
}
