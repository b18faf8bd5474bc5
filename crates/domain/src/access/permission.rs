//! Permissions are `type:action`, interned to bits; patterns are `type:*`, `*:action`, `*:*`.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::audited::DecisionAudit;
use super::condition::Attribute;
use super::resource_type::ResourceType;

/// Words in a set: 512 permissions.
const WORDS: usize = 8;

/// The bit of one permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PermissionId(u16);

/// A set of permissions in 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct PermissionSet([u64; WORDS]);

impl PermissionSet {
    /// Whether the bit is in the set.
    #[inline]
    pub fn contains(&self, id: PermissionId) -> bool {
        self.0[usize::from(id.0 / 64)] >> (id.0 % 64) & 1 == 1
    }
    /// Puts a bit in.
    pub fn insert(&mut self, id: PermissionId) {
        self.0[usize::from(id.0 / 64)] |= 1 << (id.0 % 64);
    }
    /// Takes a bit out.
    pub fn remove(&mut self, id: PermissionId) {
        self.0[usize::from(id.0 / 64)] &= !(1 << (id.0 % 64));
    }
    /// Puts all bits of `other` in.
    pub fn extend(&mut self, other: &PermissionSet) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }
    /// Takes all bits of `other` out.
    pub fn subtract(&mut self, other: &PermissionSet) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine &= !theirs;
        }
    }
    /// Keeps only the bits that are in `other` too.
    pub fn intersect(&mut self, other: &PermissionSet) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine &= theirs;
        }
    }
    /// How many bits are set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
    /// Whether every bit is in `other`.
    pub fn is_subset(&self, other: &PermissionSet) -> bool {
        self.0.iter().zip(other.0).all(|(mine, theirs)| mine & !theirs == 0)
    }
    /// Some word of it, for having the processor fetch it.
    pub(crate) fn any_word(&self) -> u64 {
        self.0[0]
    }
    /// Whether no bit is set.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }
}

/// What is allowed and what is denied, word beside word: a question about one permission finds both in one line of memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[repr(align(64))]
pub(super) struct PermissionPair([[u64; 2]; WORDS]);

impl PermissionPair {
    /// Whether the bit is allowed, and whether it is denied.
    #[inline]
    pub(super) fn of(&self, id: PermissionId) -> (bool, bool) {
        let [allow, deny] = self.0[usize::from(id.0 / 64)];
        (allow >> (id.0 % 64) & 1 == 1, deny >> (id.0 % 64) & 1 == 1)
    }

    /// All that is allowed, and all that is denied.
    pub(super) fn both(&self) -> (PermissionSet, PermissionSet) {
        (PermissionSet(self.0.map(|[allow, _]| allow)), PermissionSet(self.0.map(|[_, deny]| deny)))
    }

    /// Allows more.
    pub(super) fn allow(&mut self, set: &PermissionSet) {
        self.0.iter_mut().zip(set.0).for_each(|(own, more)| own[0] |= more);
    }

    /// Denies more.
    pub(super) fn deny(&mut self, set: &PermissionSet) {
        self.0.iter_mut().zip(set.0).for_each(|(own, more)| own[1] |= more);
    }

    /// Some words of it, one of each of its lines, for having the processor fetch it.
    pub(super) fn any_word(&self) -> u64 {
        self.0[0][0] | self.0[WORDS / 2][0]
    }
}

impl std::fmt::Debug for PermissionPair {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (allow, deny) = self.both();
        out.debug_struct("PermissionPair").field("allow", &allow).field("deny", &deny).finish()
    }
}

impl std::fmt::Debug for PermissionSet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = (0..(WORDS * 64) as u16).filter(|&bit| self.contains(PermissionId(bit)));
        out.debug_set().entries(bits).finish()
    }
}

/// All permissions there are, made from the declared resource types.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Permissions {
    names: Vec<Box<str>>,
    by_name: HashMap<Box<str>, PermissionId>,
    /// Of each bit that implies others, all that it implies, however far.
    implied: HashMap<u16, PermissionSet>,
    /// What conditions may ask for, by resource type.
    #[serde(default)]
    attributes: BTreeMap<Box<str>, Vec<Attribute>>,
    /// What is not given lightly.
    #[serde(default)]
    sensitive: PermissionSet,
    /// Of each bit whose decisions leave something else in the audit log than others', what they leave.
    #[serde(default)]
    audited: BTreeMap<u16, DecisionAudit>,
}

/// A circle in what actions imply, or an action that is not declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImpliesError {
    /// An action implies itself by way of others.
    #[error("actions imply each other in a circle: {}", path.join(" → "))]
    Cycle { path: Vec<String> },
    /// One end is not declared by the type.
    #[error("`{permission}` is not declared")]
    Unknown { permission: String },
}

impl Permissions {
    /// Interns `type:action` for each type and action. At most 512; more are refused with the count.
    pub fn new(types: &BTreeMap<String, Vec<String>>) -> Result<Self, usize> {
        let mut all = Permissions::default();
        for (kind, actions) in types {
            for action in actions {
                let name: Box<str> = format!("{kind}:{action}").into();
                let id = PermissionId(all.names.len() as u16);
                if all.by_name.insert(name.clone(), id).is_none() {
                    all.names.push(name);
                }
            }
        }
        if all.names.len() > WORDS * 64 { Err(all.names.len()) } else { Ok(all) }
    }

    /// Declares that who is allowed an action of `kind` is allowed what it `implies` too.
    ///
    /// # Errors
    /// For an action that the type does not declare, and for a circle.
    pub fn with_implies(
        mut self,
        kind: &str,
        implies: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, ImpliesError> {
        for action in implies.keys() {
            let mut set = PermissionSet::default();
            self.follow(kind, action, implies, &mut Vec::new(), &mut set)?;
            let own = self.id(&format!("{kind}:{action}")).expect("follow has looked it up");
            self.implied.insert(own.0, set);
        }
        Ok(self)
    }

    /// Declares what conditions may ask for of things of `kind`.
    #[must_use]
    pub fn with_attributes(mut self, kind: &str, attributes: &[Attribute]) -> Self {
        if !attributes.is_empty() {
            self.attributes.insert(kind.into(), attributes.to_vec());
        }
        self
    }

    /// Declares which actions of a type are sensitive, and what is recorded of decisions about them.
    #[must_use]
    pub fn with_audit(mut self, kind: &ResourceType) -> Self {
        let named = |all: &Permissions, action: &String| all.id(&format!("{}:{action}", kind.name));
        for bit in kind.sensitive.iter().filter_map(|action| named(&self, action)).collect::<Vec<_>>() {
            self.sensitive.insert(bit);
        }
        for (action, audit) in &kind.audit {
            if let Some(bit) = named(&self, action) {
                self.audited.insert(bit.0, *audit);
            }
        }
        self
    }

    /// What is not given lightly.
    pub fn sensitive(&self) -> &PermissionSet {
        &self.sensitive
    }

    /// Whether a request that is allowed by the permission becomes an audit event; `chance` is a number that nobody outside can choose.
    pub fn records_allow(&self, id: PermissionId, chance: impl FnOnce() -> u128) -> bool {
        self.audit_of(id).records_allow(self.sensitive.contains(id), chance)
    }

    /// Whether one that is refused for lack of it does.
    pub fn records_denial(&self, id: PermissionId) -> bool {
        self.audit_of(id).records_denial()
    }

    fn audit_of(&self, id: PermissionId) -> DecisionAudit {
        self.audited.get(&id.0).copied().unwrap_or_default()
    }

    /// The resource types that a set is about, with what conditions may ask for of each.
    pub fn kinds(&self, set: &PermissionSet) -> BTreeMap<&str, &[Attribute]> {
        let kinds = self.names_of(set).into_iter().filter_map(|name| name.split_once(':'));
        let of = |kind: &str| self.attributes.get(kind).map(Vec::as_slice).unwrap_or_default();
        kinds.map(|(kind, _)| (kind, of(kind))).collect()
    }

    /// All that these types declare. Of two of one name the first is meant; what is of another type then is missing.
    pub(super) fn attributes(&self, set: &PermissionSet) -> Vec<Attribute> {
        if self.attributes.is_empty() {
            return Vec::new();
        }
        let mut all: Vec<Attribute> = Vec::new();
        for own in self.kinds(set).into_values().flatten() {
            if !all.iter().any(|one| one.of == own.of && one.name == own.name) {
                all.push(own.clone());
            }
        }
        all
    }

    fn follow(
        &self,
        kind: &str,
        action: &str,
        implies: &BTreeMap<String, Vec<String>>,
        path: &mut Vec<String>,
        set: &mut PermissionSet,
    ) -> Result<(), ImpliesError> {
        let permission = format!("{kind}:{action}");
        let Some(bit) = self.id(&permission) else { return Err(ImpliesError::Unknown { permission }) };
        let closed = path.iter().any(|before| before == action);
        path.push(action.to_owned());
        if closed {
            return Err(ImpliesError::Cycle { path: path.clone() });
        }
        set.insert(bit);
        for next in implies.get(action).into_iter().flatten() {
            self.follow(kind, next, implies, path, set)?;
        }
        path.pop();
        Ok(())
    }

    /// `set` with everything that its permissions imply: what an allow of it gives. A deny is never closed.
    pub fn closed(&self, set: &PermissionSet) -> PermissionSet {
        let mut closed = *set;
        for (bit, implied) in &self.implied {
            if set.contains(PermissionId(*bit)) {
                closed.extend(implied);
            }
        }
        closed
    }

    /// Every bit with its text.
    pub fn bits(&self) -> impl Iterator<Item = (PermissionId, &str)> {
        self.names.iter().enumerate().map(|(bit, name)| (PermissionId(bit as u16), &**name))
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The bit of an exact permission.
    pub fn id(&self, name: &str) -> Option<PermissionId> {
        self.by_name.get(name).copied()
    }

    /// The text of a bit.
    pub fn name(&self, id: PermissionId) -> &str {
        &self.names[usize::from(id.0)]
    }

    /// All bits that an exact permission or a pattern means; `None` if it means none.
    pub fn matching(&self, pattern: &str) -> Option<PermissionSet> {
        let (want_type, want_action) = pattern.split_once(':')?;
        let mut set = PermissionSet::default();
        for (index, name) in self.names.iter().enumerate() {
            let (kind, action) = name.split_once(':').expect("made as type:action");
            if (want_type == "*" || want_type == kind) && (want_action == "*" || want_action == action) {
                set.insert(PermissionId(index as u16));
            }
        }
        (!set.is_empty()).then_some(set)
    }

    /// The texts of all bits of a set, in order.
    pub fn names_of(&self, set: &PermissionSet) -> Vec<&str> {
        let held = |index: usize| set.contains(PermissionId(index as u16));
        self.names.iter().enumerate().filter(|(index, _)| held(*index)).map(|(_, name)| &**name).collect()
    }

    /// Every permission.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_is_declared() {
        let types = BTreeMap::from([
            ("stamp".to_owned(), vec!["read".to_owned(), "create".to_owned()]),
            ("role".to_owned(), vec!["read".to_owned()]),
        ]);
        let all = Permissions::new(&types).expect("few");
        let names = |pattern| all.matching(pattern).map(|set| all.names_of(&set).join(" "));
        assert_eq!(names("stamp:*").as_deref(), Some("stamp:read stamp:create"));
        assert_eq!(names("*:read").as_deref(), Some("role:read stamp:read"));
        assert_eq!(names("*:*").as_deref(), Some("role:read stamp:read stamp:create"));
        assert_eq!(names("stamp:fly"), None);
        assert_eq!(names("stamp"), None);
        let (read, every) = (all.matching("*:read").expect("set"), all.matching("*:*").expect("set"));
        assert!(read.is_subset(&every) && !every.is_subset(&read));
    }
}
