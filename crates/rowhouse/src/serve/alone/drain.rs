//! What is asked of this node about taking requests: kept on the disk as it is heard, so that a node which was drained and is started
//! anew, without the control plane too, stays drained until it is asked back.

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

/// The file that says so: the number of the asking.
const FILE: &str = "drain";

/// What was asked last.
#[derive(Debug, Clone)]
pub struct Asked {
    path: PathBuf,
    number: watch::Sender<Option<i64>>,
}

impl Asked {
    /// What is kept in `folder`. A file that cannot be understood is one.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn open(folder: &Path) -> io::Result<Asked> {
        let path = folder.join(FILE);
        let number = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text.trim().parse().unwrap_or(0)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Asked { path, number: watch::Sender::new(number) })
    }

    /// The control plane says what it asks: kept first, then done.
    ///
    /// # Errors
    /// If it cannot be kept. It is done all the same.
    pub fn heard(&self, number: Option<i64>) -> io::Result<()> {
        if *self.number.borrow() == number {
            return Ok(());
        }
        let kept = match number {
            Some(number) => self.write(number),
            None => std::fs::remove_file(&self.path),
        };
        self.number.send_replace(number);
        match kept {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, number: i64) -> io::Result<()> {
        let half_made = self.path.with_extension("new");
        std::fs::write(&half_made, number.to_string())?;
        std::fs::File::open(&half_made)?.sync_all()?;
        std::fs::rename(half_made, &self.path)
    }

    /// The number of the drain that is asked for, if one is.
    pub fn number(&self) -> watch::Receiver<Option<i64>> {
        self.number.subscribe()
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drain {
    /// Requests are taken.
    #[default]
    Serving,
    /// No new ones, and those that run end.
    Finishing,
    /// Nothing is recorded any more, and not all has arrived, or not been told of.
    Sending(i64),
    /// The control plane knows that all has arrived.
    Drained,
}

impl Drain {
    /// The word of health; nothing while requests are taken.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Drain::Serving => None,
            Drain::Finishing => Some("finishing"),
            Drain::Sending(_) => Some("sending"),
            Drain::Drained => Some("drained"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_asked_outlives_the_process() {
        let name = format!("rowhouse-asked-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).expect("a folder");
        let known = || *Asked::open(&folder.0).expect("it can be read").number().borrow();
        assert_eq!(known(), None);
        let asked = Asked::open(&folder.0).expect("it can be read");
        for (number, then) in
            [(Some(3), Some(3)), (Some(3), Some(3)), (Some(4), Some(4)), (None, None), (None, None)]
        {
            asked.heard(number).expect("it can be kept");
            assert_eq!((*asked.number().borrow(), known()), (then, then));
        }
        // A loss of power in the middle: drained rather than serving.
        std::fs::write(folder.0.join(FILE), "").expect("a file");
        assert_eq!(known(), Some(0));
    }
}
