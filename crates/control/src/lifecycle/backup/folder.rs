//! Where a tenant's files lie. A folder is only had with the proof that the tenant's bytes may rest in its region.

use std::path::{Path, PathBuf};

use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::residency::Resident;

use super::Settings;

/// The folder of one tenant in one region.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder of the proof's tenant, for nobody else to read.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn open(settings: &Settings, resident: &Resident) -> Result<Self, std::io::Error> {
        let folder = Folder::of(settings, resident);
        tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder.0).await?;
        Ok(folder)
    }

    /// The same without making it.
    pub fn of(settings: &Settings, resident: &Resident) -> Self {
        Folder(settings.directory.join(resident.region()).join(resident.tenant().to_string()))
    }

    /// The tenant's folders that are there, in whatever region: for removing them, and nothing else.
    ///
    /// # Errors
    /// If the directory of backups cannot be read.
    pub async fn everywhere(settings: &Settings, tenant: TenantId) -> Result<Vec<Self>, std::io::Error> {
        let mut regions = match tokio::fs::read_dir(&settings.directory).await {
            Ok(regions) => regions,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        while let Some(region) = regions.next_entry().await? {
            let folder = region.path().join(tenant.to_string());
            if tokio::fs::try_exists(&folder).await? {
                found.push(Folder(folder));
            }
        }
        Ok(found)
    }

    /// A file in it; `name` is one that we made.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Removes the files whose names begin with `start`; how many bytes they had. Twice is once.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub async fn remove(&self, start: &str) -> Result<u64, std::io::Error> {
        let mut entries = match tokio::fs::read_dir(&self.0).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut bytes = 0;
        while let Some(entry) = entries.next_entry().await? {
            if entry.file_name().to_string_lossy().starts_with(start) {
                bytes += entry.metadata().await.map_or(0, |found| found.len());
                remove_file(&entry.path()).await?;
            }
        }
        Ok(bytes)
    }

    /// Removes the folder if nothing is in it.
    ///
    /// # Errors
    /// If it is empty and cannot be removed.
    pub async fn remove_if_empty(&self) -> Result<(), std::io::Error> {
        match tokio::fs::remove_dir(&self.0).await {
            Err(error)
                if !matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Removes the folder with everything in it; how many bytes that was.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn remove_all(&self) -> Result<u64, std::io::Error> {
        let bytes = self.remove("").await?;
        match tokio::fs::remove_dir(&self.0).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(bytes),
        }
    }
}

async fn remove_file(path: &Path) -> Result<(), std::io::Error> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
