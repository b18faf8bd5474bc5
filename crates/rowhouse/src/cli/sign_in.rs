//! Which key the command line presents: a file that is named, `ROWHOUSE_TOKEN`, who has signed in with `rowhouse login`, the credentials file, or the
//! operator key that the first start leaves in the data directory. Never an argument.

use std::path::PathBuf;

use anyhow::Context;

use super::Global;
use super::client::Client;

/// What to do when there is no key, or it is refused.
pub const NEXT: &str = "sign in with `rowhouse login`, name a file that holds a key with --token-file or ROWHOUSE_TOKEN_FILE, or set ROWHOUSE_TOKEN; \
                        the operator's own key is <data_dir>/secrets/operator.key";

/// A client for the API that the options name.
pub async fn client(global: &Global) -> anyhow::Result<Client> {
    Client::new(&global.url, token(global).await?)
}

async fn token(global: &Global) -> anyhow::Result<Option<String>> {
    if let Some(file) = &global.token_file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the key in {}", file.display()))?;
        return Ok(Some(text.trim().to_owned()));
    }
    if let Some(token) = std::env::var("ROWHOUSE_TOKEN").ok().filter(|token| !token.is_empty()) {
        return Ok(Some(token));
    }
    if let Some(token) = super::login::token(global).await? {
        return Ok(Some(token));
    }
    let found = candidates(global).into_iter().find_map(|file| std::fs::read_to_string(file).ok());
    Ok(found.map(|text| text.trim().to_owned()))
}

fn candidates(global: &Global) -> Vec<PathBuf> {
    let home = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let mut files: Vec<PathBuf> = home.map(|home| home.join("rowhouse/token")).into_iter().collect();
    if let Ok(config) = crate::config::load(global.config.as_deref(), std::env::vars()) {
        files.push(config.server.data_dir().join(crate::secrets::OPERATOR_KEY_FILE));
    }
    files
}
