//! Finds PostgreSQL's server programs on this machine and learns their version.
//!
//! Order: the setting, `PATH`, then the package directories `/usr/lib/postgresql/<major>/bin`, newest major first. When a cluster
//! exists already, only programs of its major will do, so the package directory of that major is preferred to a newer one.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::PoisonError,
};

use super::process::OWN_POSTGRES;
use super::version::{OLDEST_MAJOR, Version};

const PACKAGES: &str = "/usr/lib/postgresql";

/// A directory with `postgres` and `initdb`, and what `postgres --version` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    pub directory: PathBuf,
    pub version: Version,
}

/// Why no server can be run.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    #[error(
        "no PostgreSQL server programs on this machine; run: apt-get install postgresql-{OLDEST_MAJOR}, or set database.binaries"
    )]
    NotFound,
    #[error("{} has no PostgreSQL server programs (postgres and initdb)", .0.display())]
    NotThere(PathBuf),
    #[error("cannot run {}: {source}", .program.display())]
    CannotRun { program: PathBuf, source: io::Error },
    #[error("{} says {printed:?}, which is not a PostgreSQL version", .program.display())]
    NotPostgres { program: PathBuf, printed: String },
    #[error("PostgreSQL {found} in {} is too old: Rowhouse needs {OLDEST_MAJOR} or newer; run: apt-get install postgresql-{OLDEST_MAJOR}", .directory.display())]
    TooOld { directory: PathBuf, found: Version },
}

/// Finds the server programs: `configured`, else those in `PATH`, else the newest package; a package of major `preferred`, the
/// major of an existing cluster, goes before a `PATH` or package of another major.
pub fn find_binaries(configured: Option<&Path>, preferred: Option<u32>) -> Result<Binaries, BinariesError> {
    if let Some(directory) = configured {
        return examine(directory)?.ok_or_else(|| BinariesError::NotThere(directory.to_owned()));
    }
    let mut found = Vec::new();
    let mut unusable = None;
    for directory in path_directories().into_iter().chain(package_directories(Path::new(PACKAGES))) {
        match examine(&directory) {
            Ok(binaries) => found.extend(binaries),
            Err(error) => unusable = unusable.or(Some(error)),
        }
    }
    let of_the_cluster =
        found.iter().position(|binaries: &Binaries| Some(binaries.version.major) == preferred);
    let first = (!found.is_empty()).then_some(0);
    match of_the_cluster.or(first) {
        Some(index) => Ok(found.swap_remove(index)),
        None => Err(unusable.unwrap_or(BinariesError::NotFound)),
    }
}

/// `None` when the directory holds no server; an error when it holds one that cannot be used.
fn examine(directory: &Path) -> Result<Option<Binaries>, BinariesError> {
    let program = directory.join("postgres");
    if !program.is_file() || !directory.join("initdb").is_file() {
        return Ok(None);
    }
    let own = OWN_POSTGRES.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(&program).arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|source| BinariesError::CannotRun { program: program.clone(), source })?;
    drop(own);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some(version) = Version::parse(&printed) else {
        return Err(BinariesError::NotPostgres { program, printed });
    };
    let directory = directory.to_owned();
    if version.major < OLDEST_MAJOR {
        return Err(BinariesError::TooOld { directory, found: version });
    }
    Ok(Some(Binaries { directory, version }))
}

fn path_directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect()
}

fn package_directories(packages: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(packages) else { return Vec::new() };
    let mut majors: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    majors.retain(|major| *major >= OLDEST_MAJOR);
    majors.sort_unstable_by(|left, right| right.cmp(left));
    majors.into_iter().map(|major| packages.join(major.to_string()).join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_server_on_this_machine() {
        let found = find_binaries(None, None).expect("the tests need PostgreSQL's server programs");
        assert!(found.directory.join("postgres").is_file());
        assert_eq!(
            find_binaries(Some(&found.directory), None).expect("the same directory, configured"),
            found
        );
        assert_eq!(
            find_binaries(None, Some(found.version.major)).expect("its own major").version,
            found.version
        );
    }

    #[test]
    fn refuses_a_setting_that_points_elsewhere() {
        let refused = find_binaries(Some(Path::new("/etc")), None).expect_err("no server there");
        assert!(matches!(refused, BinariesError::NotThere(_)), "{refused}");
    }
}
