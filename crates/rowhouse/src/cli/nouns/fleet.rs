//! `rowhouse doctor`, `rowhouse firewall explain` and `rowhouse fleet …`: the tenants' databases as a whole.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::{Client, Page, escape};
use crate::cli::show::{fields, line, show, table};

/// Between two looks at a rollout that is followed.
const LOOK: Duration = Duration::from_millis(500);

/// `rowhouse doctor`
#[derive(Debug, Args)]
pub struct DoctorOptions {
    /// Only this cell; may be repeated.
    #[arg(long = "cell", value_name = "CELL")]
    cells: Vec<String>,
    /// Try the known holes of the servers out, in a scratch database, instead of trusting their versions.
    #[arg(long)]
    probe: bool,
}

/// Prints findings; 1 if there is any above `low`, or a cell that cannot be reached.
pub async fn doctor(client: &Client, options: DoctorOptions, json: bool) -> anyhow::Result<ExitCode> {
    let cells = (!options.cells.is_empty()).then_some(options.cells);
    let body = json!({ "cells": cells, "probe": options.probe });
    let answer = client.json(Method::POST, "/v1/doctor", Some(body)).await?;
    let findings = answer["findings"].as_array().cloned().unwrap_or_default();
    let unreachable = answer["unreachable"].as_array().cloned().unwrap_or_default();
    if json {
        line(&answer.to_string());
    } else {
        if findings.is_empty() {
            line(&format!("{} things examined, nothing found", answer["checked"]));
        } else {
            table(&findings, &["code", "severity", "cell", "database", "object", "detail", "cure", "sql"]);
        }
        for cell in &unreachable {
            eprintln!("{} cannot be reached: {}", word(cell, "cell"), word(cell, "problem"));
        }
    }
    let grave = findings.iter().any(|finding| finding["severity"] != "low");
    Ok(if grave || !unreachable.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `rowhouse probe …`
#[derive(Debug, Subcommand)]
pub enum ProbeVerb {
    /// Try them now; fails if one gets through.
    Run {
        /// Only this cell; may be repeated.
        #[arg(long = "cell", value_name = "CELL")]
        cells: Vec<String>,
    },
    /// What became of them, newest first.
    List {
        /// Only this cell.
        #[arg(long)]
        cell: Option<String>,
        /// Only those that got through.
        #[arg(long)]
        through: bool,
        #[command(flatten)]
        page: Page,
    },
}

/// Runs a verb on probes.
pub async fn probe(client: &Client, verb: ProbeVerb, json: bool) -> anyhow::Result<ExitCode> {
    match verb {
        ProbeVerb::Run { cells } => {
            let cells = (!cells.is_empty()).then_some(cells);
            let answer = client.json(Method::POST, "/v1/probes", Some(json!({ "cells": cells }))).await?;
            let rounds = answer["rounds"].as_array().cloned().unwrap_or_default();
            match json {
                true => line(&answer.to_string()),
                false if rounds.is_empty() => line("no cell has a shared database with tables of a service"),
                false => table(&rounds, &["cell", "tried", "held", "through", "at"]),
            }
            let all_held = rounds.iter().all(|round| round["tried"] == round["held"]);
            Ok(if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        ProbeVerb::List { cell, through, page } => {
            let filters = [("cell", cell), ("held", through.then(|| "false".to_owned()))];
            let columns = &["at", "cell", "kind", "name", "table", "found", "held"];
            show(&page.of(client, "/v1/probes", &filters).await?, columns, json);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("?")
}

/// `rowhouse firewall …`
#[derive(Debug, Subcommand)]
pub enum FirewallVerb {
    /// Whether a text may run, and why not.
    Explain {
        /// The service whose statement it is.
        #[arg(long)]
        service: String,
        /// Where its tenant lies.
        #[arg(long, value_enum, default_value = "shared")]
        isolation: Level,
        /// As on a server below the floor of known holes.
        #[arg(long)]
        strict: bool,
        /// The text; `-` reads stdin.
        sql: String,
    },
}

/// Levels of isolation.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Level {
    Shared,
    Schema,
    Database,
    Instance,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Shared => "shared",
            Level::Schema => "schema",
            Level::Database => "database",
            Level::Instance => "instance",
        }
    }
}

/// Prints a verdict; 1 if it is a refusal.
pub async fn firewall(client: &Client, verb: FirewallVerb, json: bool) -> anyhow::Result<ExitCode> {
    let FirewallVerb::Explain { service, isolation, strict, sql } = verb;
    let sql =
        if sql == "-" { std::io::read_to_string(std::io::stdin()).context("reading stdin")? } else { sql };
    let body = json!({ "service": service, "isolation": isolation.as_str(), "strict": strict, "sql": sql });
    let answer = client.json(Method::POST, "/v1/firewall/explain", Some(body)).await?;
    show(&answer, &[], json);
    Ok(if answer["verdict"] == "allowed" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `rowhouse fleet …`
#[derive(Debug, Subcommand)]
pub enum FleetVerb {
    /// Bring a service's recorded tables to every place, in waves.
    Migrate {
        /// The service.
        service: String,
        /// The version that is recorded, to be sure.
        #[arg(long)]
        to: Option<i32>,
        /// `canary` first, if at all, then rising shares up to `100%`.
        #[arg(long, value_delimiter = ',')]
        waves: Vec<String>,
        /// Go on whatever fails.
        #[arg(long)]
        keep_going: bool,
        /// Only say what would happen: it is tried and rolled back.
        #[arg(long)]
        dry_run: bool,
        /// Do not wait for its end.
        #[arg(long)]
        detach: bool,
    },
    /// Rollouts, the newest first.
    List {
        #[command(flatten)]
        page: Page,
    },
    /// One rollout: its waves, and whose migration failed.
    Show {
        /// Its id.
        rollout: String,
    },
    /// Let a stopped rollout go on, whatever fails.
    Continue {
        /// Its id.
        rollout: String,
    },
    /// Begin nothing more of a rollout.
    Stop {
        /// Its id.
        rollout: String,
    },
    /// Try what failed again.
    Retry {
        /// Its id.
        rollout: String,
    },
    /// Which version each tenant has, who is behind and why.
    Status {
        /// The service.
        service: String,
    },
    /// Compare every schema with what was installed in it.
    Drift {
        /// The service.
        service: String,
    },
}

/// Runs it; 1 if a rollout stopped or left somebody behind, or something has drifted.
pub async fn fleet(client: &Client, verb: FleetVerb, json: bool) -> anyhow::Result<ExitCode> {
    let rollouts = "/v1/fleet/migrations";
    match verb {
        FleetVerb::Migrate { service, to, waves, keep_going, dry_run, detach } => {
            let waves = (!waves.is_empty()).then_some(waves);
            let on_failure = if keep_going { "continue" } else { "stop" };
            let body = json!({ "service": service, "to": to, "waves": waves, "on_failure": on_failure });
            let path = if dry_run { format!("{rollouts}?dry_run=true") } else { rollouts.to_owned() };
            let mut answer = client.json(Method::POST, &path, Some(body)).await?;
            if dry_run || detach {
                show(&answer, &[], json);
                return Ok(ExitCode::SUCCESS);
            }
            while answer["state"] == "running" {
                tokio::time::sleep(LOOK).await;
                answer = client.get(&format!("{rollouts}/{}", word(&answer, "id"))).await?;
            }
            print_rollout(&answer, json);
            return Ok(if answer["state"] == "done" { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        FleetVerb::List { page } => {
            let answer = page.of(client, rollouts, &[]).await?;
            show(&answer, &["id", "service", "to", "state", "reason", "created_at"], json);
        }
        FleetVerb::Show { rollout } => {
            print_rollout(&client.get(&format!("{rollouts}/{}", escape(&rollout))).await?, json);
        }
        FleetVerb::Continue { rollout } => print_rollout(&order(client, &rollout, "continue").await?, json),
        FleetVerb::Stop { rollout } => print_rollout(&order(client, &rollout, "stop").await?, json),
        FleetVerb::Retry { rollout } => print_rollout(&order(client, &rollout, "retry").await?, json),
        FleetVerb::Status { service } => {
            let answer = client.get(&format!("/v1/fleet/status?service={}", escape(&service))).await?;
            print_status(&answer, json);
        }
        FleetVerb::Drift { service } => {
            let body = json!({ "service": service });
            let answer = client.json(Method::POST, "/v1/fleet/drift", Some(body)).await?;
            let drifted = answer["drifted"].as_array().cloned().unwrap_or_default();
            if json {
                line(&answer.to_string());
            } else if drifted.is_empty() {
                line(&format!("{} schemas compared, none has drifted", answer["checked"]));
            } else {
                table(&drifted, SCHEMA);
            }
            return Ok(if drifted.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

const SCHEMA: &[&str] = &["tenant", "cell", "database", "schema", "version", "problem"];

async fn order(client: &Client, rollout: &str, order: &str) -> anyhow::Result<Value> {
    client
        .json(Method::POST, &format!("/v1/fleet/migrations/{}/{order}", escape(rollout)), Some(json!({})))
        .await
}

fn print_rollout(answer: &Value, json: bool) {
    if json {
        return line(&answer.to_string());
    }
    fields(
        &json!({ "id": answer["id"], "service": answer["service"], "to": answer["to"], "state": answer["state"], "reason": answer["reason"] }),
    );
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    table(&list("waves"), &["name", "waiting", "running", "done", "failed", "skipped"]);
    for one in list("failed") {
        eprintln!(
            "{} in {}: {}",
            one["tenant"].as_str().unwrap_or("shared tables"),
            word(&one, "database"),
            word(&one, "problem")
        );
    }
}

fn print_status(answer: &Value, json: bool) {
    if json {
        return line(&answer.to_string());
    }
    fields(
        &json!({ "service": answer["service"], "recorded": answer["recorded"], "versions": answer["versions"] }),
    );
    for name in ["behind", "drifted"] {
        let list = answer[name].as_array().cloned().unwrap_or_default();
        if !list.is_empty() {
            line(name);
            table(&list, SCHEMA);
        }
    }
}
