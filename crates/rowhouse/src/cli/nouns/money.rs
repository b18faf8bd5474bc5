//! Usage, subscriptions and invoices: what was used, and what it costs.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Client;
use super::ask::{Page, at, escape};
use crate::cli::show::{line, show, table};

/// `rowhouse usage …`
#[derive(Debug, Subcommand)]
pub enum UsageVerb {
    /// The quantity of a meter; with --step, by time.
    Show {
        #[command(flatten)]
        query: UsageQuery,
        /// month, day, hour or minute.
        #[arg(long)]
        step: Option<String>,
    },
    /// Down to the single events.
    Explain(UsageQuery),
}

/// Which usage.
#[derive(Debug, Args)]
pub struct UsageQuery {
    /// As `rowhouse meter list` shows them.
    meter: String,
    /// A tenant's id or code; your own if not said.
    #[arg(long)]
    tenant: Option<String>,
    /// From this instant (RFC 3339); the month's begin if not said.
    #[arg(long)]
    from: Option<String>,
    /// Until before this instant.
    #[arg(long)]
    to: Option<String>,
    #[command(flatten)]
    page: Page,
}

impl UsageQuery {
    async fn ask(self, client: &Client, path: &str, step: Option<String>) -> anyhow::Result<Value> {
        let filters = [
            ("meter", Some(self.meter)),
            ("tenant", self.tenant),
            ("from", self.from),
            ("to", self.to),
            ("step", step),
        ];
        self.page.of(client, path, &filters).await
    }
}

/// Runs `rowhouse usage …`.
pub async fn usage(client: &Client, verb: UsageVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        UsageVerb::Show { query, step } => {
            let by_time = step.is_some();
            let answer = query.ask(client, "/v1/usage", step).await?;
            if json || by_time {
                show(&answer, &["from", "to", "quantity", "events"], json);
            } else {
                line(&format!("{} {}", text(&answer["total"]["quantity"]), text(&answer["unit"])));
            }
        }
        UsageVerb::Explain(query) => explain(&query.ask(client, "/v1/usage/explain", None).await?, json),
    }
    Ok(())
}

/// The events as a table, and how they became the quantity.
fn explain(answer: &Value, json: bool) {
    if json {
        return show(answer, &[], true);
    }
    table(
        list(&answer["events"]),
        &["time", "value", "state", "endpoint", "status", "principal", "request_id"],
    );
    for event in list(&answer["left_out"]) {
        line(&format!("left out\t{event}"));
    }
    for step in list(&answer["steps"]) {
        line(&format!("{}\t{}", text(&step["step"]), text(&step["result"])));
    }
    line(&format!("quantity\t{}", text(&answer["quantity"])));
    if let Some(cursor) = answer["next_cursor"].as_str() {
        eprintln!("there are more; next: the same with --cursor {cursor}");
    }
}

/// `rowhouse subscription …`
#[derive(Debug, Subcommand)]
pub enum SubscriptionVerb {
    /// Those of a tenant, or all.
    List {
        /// A tenant's id or code.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

/// Runs `rowhouse subscription …`.
pub async fn subscription(client: &Client, verb: SubscriptionVerb, json: bool) -> anyhow::Result<()> {
    let SubscriptionVerb::List { tenant, page } = verb;
    let answer = page.of(client, "/v1/subscriptions", &[("tenant", tenant)]).await?;
    show(&answer, &["id", "tenant", "plan", "plan_version", "currency", "state", "anchor"], json);
    Ok(())
}

/// `rowhouse invoice …`
#[derive(Debug, Subcommand)]
pub enum InvoiceVerb {
    /// The running period as an invoice.
    Preview {
        /// A tenant's id or code; your own if not said.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// One line of it, step by step.
    Explain {
        /// The price of the line, as the preview's first column shows it.
        price: String,
        /// A tenant's id or code; your own if not said.
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Runs `rowhouse invoice …`.
pub async fn invoice(client: &Client, verb: InvoiceVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        InvoiceVerb::Preview { tenant } => {
            preview(&client.get(&at("/v1/billing/running", &[("tenant", tenant)])).await?, json)
        }
        InvoiceVerb::Explain { price, tenant } => {
            let path = format!("/v1/billing/running/lines/{}/explain", escape(&price));
            steps(&client.get(&at(&path, &[("tenant", tenant)])).await?, json);
        }
    }
    Ok(())
}

fn preview(answer: &Value, json: bool) {
    if json {
        return show(answer, &[], true);
    }
    let mut rows = list(&answer["lines"]).to_vec();
    rows.push(json!({"price": "total", "net": answer["total"]}));
    table(&rows, &["price", "description", "quantity", "net.amount", "net.currency"]);
}

/// Each step with what it adds, as `name value` pairs after its name.
fn steps(answer: &Value, json: bool) {
    if json {
        return show(answer, &[], true);
    }
    for step in list(&answer["steps"]) {
        let parts = step
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, value)| *name != "step" && !value.is_null());
        let shown: Vec<_> = parts.map(|(name, value)| format!("{name} {}", text(value))).collect();
        line(&format!("{}\t{}", text(&step["step"]), shown.join(", ")));
    }
    let amount = &answer["amount"];
    line(&format!(
        "amount\t{} {} (exactly {})",
        text(&amount["amount"]),
        text(&amount["currency"]),
        text(&amount["exact"])
    ));
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
