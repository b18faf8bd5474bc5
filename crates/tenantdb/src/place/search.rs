//! Reading files for a text.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;

const CHUNK: usize = 1 << 20;

/// What was read, and where the text was.
#[derive(Debug, Default)]
pub(super) struct FilesSearched {
    pub files: u64,
    pub bytes: u64,
    pub found: Vec<String>,
}

/// Reads `path`, and what is below it if it is a directory. `None` if it cannot be read from here at all. Files that go
/// away meanwhile held nothing any more.
pub(super) async fn files(path: PathBuf, text: String) -> Option<FilesSearched> {
    tokio::task::spawn_blocking(move || {
        let finder = Finder::new(text.as_bytes());
        let mut searched = FilesSearched::default();
        walk(&path, &finder, &mut searched).ok()?;
        Some(searched)
    })
    .await
    .ok()?
}

fn walk(path: &Path, finder: &Finder<'_>, searched: &mut FilesSearched) -> io::Result<()> {
    if !std::fs::symlink_metadata(path)?.is_dir() {
        return read(path, finder, searched);
    }
    for entry in std::fs::read_dir(path)? {
        match walk(&entry?.path(), finder, searched) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn read(path: &Path, finder: &Finder<'_>, searched: &mut FilesSearched) -> io::Result<()> {
    let mut file = File::open(path)?;
    let overlap = finder.needle().len().saturating_sub(1);
    let mut buffer = vec![0; CHUNK + overlap];
    let mut kept = 0;
    searched.files += 1;
    loop {
        let count = file.read(&mut buffer[kept..])?;
        if count == 0 {
            return Ok(());
        }
        searched.bytes += count as u64;
        let filled = kept + count;
        if finder.find(&buffer[..filled]).is_some() {
            searched.found.push(path.display().to_string());
            return Ok(());
        }
        // What may be the beginning of the text stays in front of the next piece.
        kept = overlap.min(filled);
        buffer.copy_within(filled - kept..filled, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_text_is_found_wherever_a_piece_ends() {
        let folder = std::env::temp_dir().join(format!("rowhouse-search-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("below")).expect("a folder");
        for at in [0, 5, CHUNK - 3, CHUNK, CHUNK + 3, 2 * CHUNK + 1] {
            let mut bytes = vec![b'x'; 3 * CHUNK];
            bytes[at..at + 6].copy_from_slice(b"marker");
            std::fs::write(folder.join("below/file"), &bytes).expect("a file");
            let searched = files(folder.clone(), "marker".to_owned()).await.expect("readable");
            assert_eq!(searched.found.len(), 1, "at {at}");
            let none = files(folder.clone(), "absent".to_owned()).await.expect("readable");
            assert_eq!((none.found.len(), none.files, none.bytes), (0, 1, 3 * CHUNK as u64));
        }
        std::fs::remove_dir_all(&folder).expect("own folder");
        assert!(files(folder, "marker".to_owned()).await.is_none(), "what is not there was not read");
    }
}
