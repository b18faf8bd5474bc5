//! `GET /v1/upstreams`: how the copies of services stand. For the operator.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::routes::{CircuitState, Seen};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Shared;
use crate::api::{Answer, Caller, List, Parameters};

/// Which of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Of this service.
    service: Option<String>,
    /// As this gateway sees them.
    gateway: Option<String>,
    /// Own copies of this tenant: an id or a code.
    tenant: Option<String>,
    /// In this state.
    state: Option<String>,
}

/// A copy of a service as one gateway sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UpstreamView {
    /// The gateway: the name of its node.
    gateway: String,
    /// The service; `null` for a copy that no service names any more.
    service: Option<String>,
    /// The release, where the service has several.
    release: Option<String>,
    /// Whose own copy it is, by id.
    tenant: Option<String>,
    /// `host:port`.
    address: String,
    /// `healthy`; `unhealthy`: its active checks fail; `ejected`: requests to it failed again and again; `draining`: no service names it
    /// any more.
    state: &'static str,
    /// Why it is not asked, or not by everybody.
    why: Option<String>,
    /// Requests that it has not answered.
    in_flight: u32,
    /// How long it takes to answer (peak EWMA), in microseconds; only where balancing measures it.
    latency_us: Option<u64>,
    /// `closed`, `half_open` or `open`: the circuit of its release, or of the tenant's own copies, on the core that trusts it least.
    circuit: &'static str,
    /// Cores of the gateway that see it.
    cores: u32,
    /// Of these, whose circuit is not closed.
    cores_with_open_circuit: u32,
    /// Of these, that have ejected it.
    cores_that_ejected: u32,
    /// When it is asked again.
    ejected_until: Option<String>,
    /// Times in a row that it was ejected.
    ejections: u32,
    /// Requests that failed since the last that did not.
    failures: u32,
    /// When something went wrong with it last.
    last_trouble_at: Option<String>,
    /// What.
    last_trouble: Option<String>,
}

impl UpstreamView {
    fn of(gateway: &str, seen: Seen) -> UpstreamView {
        let at = |us: i64| Timestamp::from_microsecond(us).ok().map(|at| at.to_string());
        let named = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let [cores, cores_with_open_circuit, cores_that_ejected] = seen.cores;
        UpstreamView {
            gateway: gateway.to_owned(),
            service: named(&seen.service),
            release: named(&seen.release),
            tenant: seen.tenant.map(|tenant| tenant.to_string()),
            address: seen.address.to_string(),
            state: state(&seen),
            why: why(&seen),
            in_flight: seen.in_flight,
            latency_us: seen.latency_us,
            circuit: circuit(seen.circuit),
            cores,
            cores_with_open_circuit,
            cores_that_ejected,
            ejected_until: seen.ejected_until_us.and_then(at),
            ejections: seen.ejections,
            failures: seen.failures,
            last_trouble_at: seen.last_trouble.and_then(|(us, _)| at(us)),
            last_trouble: seen.last_trouble.map(|(_, trouble)| trouble.to_string()),
        }
    }
}

fn state(seen: &Seen) -> &'static str {
    match seen {
        Seen { service, .. } if service.is_empty() => "draining",
        Seen { unwell: Some(_), .. } => "unhealthy",
        Seen { ejected_until_us: Some(_), .. } => "ejected",
        _ => "healthy",
    }
}

fn circuit(state: CircuitState) -> &'static str {
    match state {
        CircuitState::Closed => "closed",
        CircuitState::HalfOpen => "half_open",
        CircuitState::Open => "open",
    }
}

fn why(seen: &Seen) -> Option<String> {
    let last = || seen.last_trouble.map(|(_, trouble)| format!("; last: {trouble}")).unwrap_or_default();
    match seen {
        Seen { service, .. } if service.is_empty() => Some("no service names it any more".to_owned()),
        Seen { unwell: Some(trouble), .. } => Some(format!("asked whether it is well, {trouble}")),
        Seen { ejected_until_us: Some(_), failures, .. } => {
            Some(format!("{failures} requests failed in a row{}", last()))
        }
        Seen { circuit: CircuitState::Open | CircuitState::HalfOpen, .. } => {
            Some(format!("too many requests to its release failed{}", last()))
        }
        _ => None,
    }
}

/// How the copies of services stand, as each gateway sees them: of this process's own gateway a second ago at most, of those on their own
/// some seconds. Own copies of a tenant are there once they were asked. For the operator.
#[utoipa::path(get, path = "/v1/upstreams", operation_id = "routes.list_upstreams", tag = "routes", params(Which),
    responses((status = 200, body = List<UpstreamView>)))]
pub(super) async fn list_upstreams(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(which): Parameters<Which>,
) -> Answer<Json<List<UpstreamView>>> {
    caller.permit("service:read", None)?;
    let tenant: Option<TenantId> = match &which.tenant {
        Some(named) => Some(caller.one_tenant(Some(named))?),
        None => None,
    };
    let asked = |seen: &Seen| {
        which.service.as_deref().is_none_or(|own| *seen.service == *own)
            && which.state.as_deref().is_none_or(|own| state(seen) == own)
            && tenant.is_none_or(|own| seen.tenant == Some(own))
    };
    let all = control.upstreams.all(&control.settings.node, control.clock().now_us());
    let of_gateway = all.into_iter().filter(|(name, _)| which.gateway.as_ref().is_none_or(|own| own == name));
    let items = of_gateway.flat_map(|(gateway, seen)| {
        seen.into_iter().filter(asked).map(move |seen| UpstreamView::of(&gateway, seen)).collect::<Vec<_>>()
    });
    Ok(Json(List::whole(items.collect())))
}
