//! Why a fleet is not rendered. Nothing is written then.

use std::fmt;

use super::quota::Shortage;

/// Longest content of a ConfigMap, which the API server refuses beyond: 1 MiB.
pub const CONFIG_MAP_BYTES_MAX: usize = 1_048_576;

/// Why a fleet is not rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A name cannot be an object's.
    #[error(
        "{what} `{name}` cannot name an object: {most} lower-case letters, digits and hyphens at most, beginning with a letter and not ending with a hyphen"
    )]
    Name {
        /// Whose name.
        what: &'static str,
        /// The name.
        name: String,
        /// Longest.
        most: usize,
    },
    /// Two things would be one object.
    #[error("two things would be named `{0}` in the cluster; give one of them another name")]
    Twice(String),
    /// An image that does not say which one.
    #[error(
        "{what}: `{image}` does not say which image: it needs a tag other than `latest`, or a digest (`@sha256:…`)"
    )]
    Image {
        /// Whose image.
        what: String,
        /// As it was given.
        image: String,
    },
    /// Nobody said which image.
    #[error("{what} has no image: set {setting}")]
    NoImage {
        /// Whose image.
        what: String,
        /// What to set.
        setting: String,
    },
    /// A version that could change under our feet, or is none.
    #[error("deploy.kubernetes.pod_security_version is `{0}`; it is a fixed version as `v1.37`")]
    PodSecurityVersion(String),
    /// A number beyond its bounds.
    #[error("{what} is {found}; it may be {least} to {most}")]
    Bounds {
        /// Which.
        what: String,
        /// As it was given.
        found: u64,
        /// Least.
        least: u64,
        /// Most.
        most: u64,
    },
    /// More is asked for than may be used.
    #[error("{what} asks for more {resource} ({asked}) than it may use ({most})")]
    Size {
        /// Whose.
        what: String,
        /// `cpu` or `memory`.
        resource: &'static str,
        /// The request.
        asked: String,
        /// The limit.
        most: String,
    },
    /// The rollout does not fit the quota, with or without additional pods.
    #[error("the quota is too small for a rollout of the fleet:{}", Listed(.0))]
    Quota(Vec<Shortage>),
    /// A resource that no quota of ours is about.
    #[error("`{0}` is none of the resources that a quota can be set for: {1}")]
    QuotaResource(String, String),
    /// A quota that is no amount.
    #[error("the quota of {resource}: {detail}")]
    QuotaAmount {
        /// The resource.
        resource: String,
        /// What is wrong.
        detail: String,
    },
    /// Not a network.
    #[error("{setting}: `{network}` is no network as `10.20.0.0/16`")]
    Network {
        /// The setting.
        setting: &'static str,
        /// As it was given.
        network: String,
    },
    /// A network that holds the cloud's metadata address: never generated.
    #[error(
        "{setting}: `{network}` holds link-local addresses (169.254.0.0/16, fe80::/10), where clouds keep credentials; name narrower networks, or `anywhere`, which leaves these and private networks out"
    )]
    LinkLocal {
        /// The setting.
        setting: &'static str,
        /// As it was given.
        network: String,
    },
    /// More than a ConfigMap takes.
    #[error("{what} would be {bytes} bytes, and a ConfigMap takes {CONFIG_MAP_BYTES_MAX}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How long.
        bytes: usize,
    },
    /// A variable that the fleet sets itself, or that is no variable.
    #[error("{what}: the variable `{name}` {why}")]
    Variable {
        /// Whose.
        what: String,
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// One shortage a line.
struct Listed<'a>(&'a [Shortage]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|shortage| write!(out, "\n  {shortage}"))
    }
}
