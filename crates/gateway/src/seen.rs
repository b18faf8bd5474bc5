//! What one core tells of the copies that it asks, once a second.

use std::sync::Arc;

use rowhouse_domain::routes::{SEEN_MAX, Seen};

use crate::core::Core;
use crate::upstream::Whose;

/// Every copy that the directory names, those of tenants' own that were asked, and those that nothing names any more and that still
/// have requests to answer.
pub(crate) fn seen(core: &Core) -> Vec<Seen> {
    let (view, (now_us, _)) = (core.view(), core.now_us());
    let mut all = Vec::new();
    for (index, service) in view.services.iter().enumerate() {
        let definition = &view.directory.services[index];
        for (number, release) in service.releases.iter().enumerate() {
            let name: Arc<str> = definition.release_name(number).into();
            let whose =
                Whose { service: &service.name, release: &name, tenant: None, care: Some(&release.care) };
            all.extend(release.upstreams.iter().map(|own| own.seen(whose, now_us)));
        }
    }
    let nothing: Arc<str> = "".into();
    for (name, tenant, care) in core.pools.cares_of_tenants() {
        let place = view.services.iter().position(|service| service.name == name);
        let known = view.directory.tenants.get(&tenant);
        let (Some(place), Some(known)) = (place, known) else { continue };
        let whose = Whose { service: &name, release: &nothing, tenant: Some(tenant), care: Some(&care) };
        let addresses = known.own_upstreams(place).unwrap_or_default().iter();
        let speech = &view.services[place].speech;
        all.extend(addresses.map(|address| core.pools.upstream(address, speech).seen(whose, now_us)));
    }
    let named: std::collections::HashSet<Arc<str>> = all.iter().map(|own| own.address.clone()).collect();
    let whose = Whose { service: &nothing, release: &nothing, tenant: None, care: None };
    let left =
        core.pools.all().into_iter().filter(|own| own.in_flight() > 0 && !named.contains(&own.address));
    all.extend(left.map(|own| own.seen(whose, now_us)));
    all.truncate(SEEN_MAX);
    all
}
