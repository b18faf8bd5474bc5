//! `kill -9` of Rowhouse under load: the client's count of complete answers and the metered usage are equal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, ensure};
use serde_json::json;

use super::super::house::House;
use super::super::setting::Setting;
use super::evidence::used;
use super::{Call, Tally};
use crate::cli::client::Client;

/// Clients at once.
const CLIENTS: usize = 4;
/// Complete answers before the power is pulled.
const ENOUGH: u64 = 200;

/// Runs the check.
pub async fn check(house: &mut House, setting: &Setting, tally: &mut Tally) -> anyhow::Result<()> {
    tally.note("kill -9 under load loses nothing and counts nothing twice", killed(house, setting).await);
    Ok(())
}

async fn killed(house: &mut House, setting: &Setting) -> anyhow::Result<String> {
    let bolt = &setting.tenants[1];
    let before = used(&house.operator()?, &bolt.code, "stamps_created").await?;
    let gateway = house.gateway()?;
    let (complete, cut_off) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (gateway, key, code) = (gateway.clone(), bolt.key.clone(), bolt.code.clone());
            let (complete, cut_off, stop) = (complete.clone(), cut_off.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let call = Call::post("/v1/stamps", json!({"content": "under load"}));
                    match call.host(&code).key(&key).send(&gateway).await {
                        Ok(seen) if seen.status == 201 => complete.fetch_add(1, Ordering::Relaxed),
                        Ok(_) => 0,
                        // The connection broke: the answer may or may not have been on its way.
                        Err(_) => {
                            cut_off.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                    };
                }
            })
        })
        .collect();
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(5));
    for _ in 0..4_000 {
        beat.tick().await;
        if complete.load(Ordering::Relaxed) >= ENOUGH {
            break;
        }
    }
    house.kill_rowhouse().await?;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.context("a client of the load")?;
    }
    house.start_rowhouse().await.context("starting again")?;
    let (complete, cut_off) = (complete.load(Ordering::Relaxed), cut_off.load(Ordering::Relaxed));
    ensure!(complete >= ENOUGH, "only {complete} answers before the power was pulled");
    let operator = house.operator()?;
    let least = before + i128::from(complete);
    settled_between(&operator, &bolt.code, least, least + i128::from(cut_off)).await?;
    Ok(format!("{complete} complete answers, {cut_off} cut off, all counted once"))
}

/// Each answer that was cut off may have been recorded before it left, or not.
async fn settled_between(operator: &Client, tenant: &str, least: i128, most: i128) -> anyhow::Result<()> {
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(50));
    let mut last = 0;
    for _ in 0..200 {
        beat.tick().await;
        last = used(operator, tenant, "stamps_created").await?;
        ensure!(last <= most, "{last} counted, at most {most} done");
        if last >= least {
            return Ok(());
        }
    }
    anyhow::bail!("{last} counted after ten seconds, at least {least} done")
}
