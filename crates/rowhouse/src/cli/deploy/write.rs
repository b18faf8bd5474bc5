//! Puts the files into their folder: what is there and not ours is neither written over nor removed; what is ours and no longer
//! rendered goes. Nothing is written before everything has been looked at.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use rowhouse_domain::deploy::{File, MARK};

/// Why files cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder cannot be used.
    #[error("cannot use the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file stands there that we have not written.
    #[error(
        "{path} was not written by `rowhouse deploy render`; nothing was written. Move it away, or name another folder"
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written, or removed.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there, or was another.
    Written,
    /// It was there.
    Kept,
    /// It was ours and is not rendered any more.
    Removed,
}

impl Outcome {
    /// As it is told.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Written => "written",
            Outcome::Kept => "kept",
            Outcome::Removed => "removed",
        }
    }
}

/// What stands at a path.
#[derive(Debug, PartialEq, Eq)]
enum There {
    Nothing,
    Ours,
    Another,
}

/// Writes `files` into `folder`, which is made if it is not there.
///
/// # Errors
/// See [`WriteError`].
pub fn write(folder: &Path, files: &[File]) -> Result<Vec<(String, Outcome)>, WriteError> {
    let unusable = |source| WriteError::Folder { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(unusable)?;
    for file in files {
        let path = folder.join(&file.name);
        if there(&path)? == There::Another {
            return Err(WriteError::NotOurs { path });
        }
    }
    let mut gone = Vec::new();
    for entry in fs::read_dir(folder).map_err(unusable)? {
        let name = entry.map_err(unusable)?.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(".yaml")) else { continue };
        if !files.iter().any(|file| file.name == name) && there(&folder.join(name))? == There::Ours {
            gone.push(name.to_owned());
        }
    }
    gone.sort();
    let mut outcomes = Vec::new();
    for file in files {
        outcomes.push((file.name.clone(), put(folder, file)?));
    }
    for name in gone {
        let path = folder.join(&name);
        fs::remove_file(&path).map_err(|source| WriteError::File { path, source })?;
        outcomes.push((name, Outcome::Removed));
    }
    Ok(outcomes)
}

/// Whole or not at all: beside it first, then in its place.
fn put(folder: &Path, file: &File) -> Result<Outcome, WriteError> {
    let path = folder.join(&file.name);
    if fs::read(&path).is_ok_and(|text| text == file.text.as_bytes()) {
        return Ok(Outcome::Kept);
    }
    let beside = folder.join(format!(".{}.{}.new", file.name, std::process::id()));
    let written = fs::File::create_new(&beside)
        .and_then(|mut new| io::Write::write_all(&mut new, file.text.as_bytes()))
        .and_then(|()| fs::rename(&beside, &path));
    written.map_err(|source| {
        // What was begun is of no use to anybody; that it is left lying is not what went wrong.
        let _ = fs::remove_file(&beside);
        WriteError::File { path, source }
    })?;
    Ok(Outcome::Written)
}

/// A link, a folder, or a file without our mark in front is another's.
fn there(path: &Path) -> Result<There, WriteError> {
    let wrong = |source| WriteError::File { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(There::Nothing),
        Err(error) => return Err(wrong(error)),
        Ok(own) if !own.is_file() => return Ok(There::Another),
        Ok(_) => {}
    }
    let mut begin = Vec::new();
    let most = u64::try_from(MARK.len() + 1).unwrap_or(u64::MAX);
    fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut begin)).map_err(wrong)?;
    let is_ours = begin.strip_prefix(MARK.as_bytes()) == Some(b"\n");
    Ok(if is_ours { There::Ours } else { There::Another })
}
