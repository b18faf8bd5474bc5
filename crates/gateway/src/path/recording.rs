//! What is written about one request: filled in while it passes, appended to the journal exactly once. Dropping
//! it unwritten means that the client has gone, and is written as such.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use rowhouse_domain::access::{PermissionId, Principal, PrincipalKind};
use rowhouse_domain::directory::Quota;
use rowhouse_domain::id::{ApplicationId, OPERATOR_TENANT, TenantId};
use rowhouse_domain::keys::{Presented, PublicId};
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::{Fault, Kind, Refusal};
use rowhouse_domain::routes::{CountWhen, Matched, Trouble};
use rowhouse_journal::{AppendError, AuditMark, Class, Outcome, Protocol, RequestRecord, UsagePairs};
use uuid::Uuid;

use super::authenticate::{Credential, Who};
use super::forward::is_failure;
use super::usage::Reported;
use super::{Left, grpc, traceparent};
use crate::body::{BodyFate, BodyWatch};
use crate::connection::Peer;
use crate::core::Core;
use crate::limits::Standings;
use crate::metrics::Counted;
use crate::quotas::Reservation;
use crate::upstream::{Care, InFlight};
use crate::view::View;
use crate::websocket::Passed;

/// The status recorded for a client that went away before it was answered.
const CLIENT_GONE: u16 = 499;

/// One request's record in the making.
pub(crate) struct Recording {
    pub(crate) core: Rc<Core>,
    pub(crate) view: Rc<View>,
    pub(crate) request_id: Uuid,
    pub(crate) request_id_text: HeaderValue,
    pub(crate) trace_id: u128,
    /// Whether the trace was begun here.
    pub(crate) trace_is_ours: bool,
    pub(crate) started_at_us: i64,
    /// The same by a clock that may have stepped back: limits count on from there, so that nobody waits until it has caught up.
    pub(crate) counted_at_us: i64,
    pub(crate) started: Instant,
    pub(crate) client: IpAddr,
    pub(crate) tenant: Option<TenantId>,
    principal: Option<Principal>,
    /// Through which a person acts.
    application: Option<ApplicationId>,
    pub(crate) route: Option<usize>,
    pub(crate) permission: Option<PermissionId>,
    /// The limit that refused, or was nearest, and what it had left.
    pub(crate) limit: Option<(usize, i64)>,
    pub(crate) standings: Standings,
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) upstream: Option<InFlight>,
    /// The release of the service's shared copies that was chosen.
    pub(crate) release: Option<usize>,
    pub(crate) upstream_us: Option<u64>,
    /// The status that the upstream answered with.
    pub(crate) upstream_status: Option<u16>,
    pub(crate) reported: Vec<Reported>,
    /// The service has the request, and the client is gone.
    pub(super) left: Option<Box<Left>>,
    /// The service has the request, and what it answers will not be known.
    pub(super) unheard: bool,
    /// What the client was told that broke its request off; the record waits for the service.
    pub(super) told_instead: Option<&'static Kind>,
    /// Whether usage counts at all: a test key's does not.
    pub(crate) counts: bool,
    pub(crate) body: Option<Rc<BodyWatch>>,
    pub(crate) bytes_out: u64,
    /// Whether a refusal is told as gRPC has it.
    pub(crate) is_grpc: bool,
    /// The request, if it asks to become a WebSocket and may.
    pub(crate) websocket: Option<Box<Parts>>,
    /// Messages of it, both ways.
    messages: u64,
    /// What earlier records of the same request have told.
    told: Option<Told>,
    /// The service that a page of another origin asks, and the origin if it may.
    pub(crate) page: Option<(usize, Option<HeaderValue>)>,
    pub(crate) peer: Rc<Peer>,
    clock_stepped: bool,
    public_id: Option<PublicId>,
    protocol: Protocol,
    method: Method,
    event: Option<Box<Event>>,
    written: bool,
}

/// What was told of a request that goes on, and when.
#[derive(Clone, Copy)]
struct Told {
    at_us: i64,
    at: Instant,
    bytes_in: u64,
    bytes_out: u64,
    messages: u64,
}

/// What only a record needs that becomes an audit event.
struct Event {
    /// An event even if it was refused.
    denial: bool,
    target_kind: String,
    target_id: String,
    user_agent: String,
}

impl Recording {
    /// Takes the clocks, once for the request's whole life, and names it.
    pub(crate) fn begin<B>(core: &Rc<Core>, peer: &Rc<Peer>, request: &Request<B>) -> Box<Self> {
        let (started_at_us, clock_stepped) = core.now_us();
        let headers = request.headers();
        let given = given_id(headers);
        let request_id = given.as_ref().map_or_else(|| core.random.uuid_v7(started_at_us), |(id, _)| *id);
        let request_id_text = given.map_or_else(|| id_text(request_id), |(_, text)| text);
        let given_trace = traceparent::trace_id(headers);
        Box::new(Recording {
            view: core.view(),
            core: core.clone(),
            request_id,
            request_id_text,
            trace_id: given_trace.unwrap_or(request_id.as_u128()),
            trace_is_ours: given_trace.is_none(),
            started_at_us,
            counted_at_us: if clock_stepped { core.clock_us() } else { started_at_us },
            started: Instant::now(),
            client: peer.address,
            page: None,
            peer: peer.clone(),
            tenant: None,
            principal: None,
            application: None,
            route: None,
            permission: None,
            limit: None,
            standings: Standings::default(),
            reservations: Vec::new(),
            upstream: None,
            release: None,
            upstream_us: None,
            upstream_status: None,
            reported: Vec::new(),
            left: None,
            unheard: false,
            told_instead: None,
            counts: true,
            body: None,
            bytes_out: 0,
            is_grpc: grpc::is_grpc(request.version(), headers),
            websocket: None,
            messages: 0,
            told: None,
            clock_stepped,
            public_id: None,
            protocol: if request.version() == Version::HTTP_2 { Protocol::Http2 } else { Protocol::Http1 },
            method: request.method().clone(),
            event: None,
            written: false,
        })
    }

    /// Whole seconds of the request's start.
    pub(crate) fn started_at_s(&self) -> i64 {
        self.started_at_us.div_euclid(1_000_000)
    }

    /// Whole seconds of the time that limits count from.
    pub(crate) fn counted_at_s(&self) -> i64 {
        self.counted_at_us.div_euclid(1_000_000)
    }

    /// A wait as it is told: longer ones are spread by up to 5 %, so that clients don't return together.
    pub(crate) fn spread(&self, seconds: i64) -> u32 {
        let seconds = u32::try_from(seconds.max(1)).unwrap_or(u32::MAX);
        if seconds <= 60 {
            return seconds;
        }
        let share = u64::from(u16::from_le_bytes(self.core.random.bytes()));
        let added = u64::from(seconds) * share / (20 * 65_536);
        seconds.saturating_add(u32::try_from(added).unwrap_or(0))
    }

    /// Notes the public id of a key, if that much of it is known.
    pub(crate) fn presented(&mut self, presented: Option<&Credential<'_, '_>>) {
        let key = presented.and_then(|credential| match credential {
            Credential::Key(presented) => Some(presented),
            Credential::Token(_) => None,
        });
        let known = key.filter(|presented| presented.claims().is_some());
        self.public_id = known.and_then(Presented::public_id);
    }

    /// Notes who acts.
    pub(crate) fn is_by(&mut self, who: &Who<'_>) {
        self.principal = who.principal();
        self.application = who.application();
    }

    /// This record becomes an audit event, unless it is refused for something else.
    pub(crate) fn becomes_event(&mut self, matched: &Matched<'_, '_>, headers: &HeaderMap) {
        let definition = &matched.route.definition;
        let of_permission = || definition.permission.as_deref().and_then(|name| name.split(':').next());
        let target_kind = definition.resource_type.as_deref().or_else(of_permission).unwrap_or_default();
        let target_id = definition.resource_from.as_deref().and_then(|name| matched.capture(name));
        self.event = Some(Box::new(Event {
            denial: false,
            target_kind: target_kind.to_owned(),
            target_id: target_id.unwrap_or_default().to_owned(),
            user_agent: user_agent(headers),
        }));
    }

    /// A number that nobody outside chooses, as the request's id may be.
    pub(crate) fn chance(&self) -> u128 {
        self.core.random.uuid_v7(self.started_at_us).as_u128()
    }

    /// It is in the journal, and nowhere else.
    pub(crate) fn no_event(&mut self) {
        self.event = None;
    }

    /// A refusal that is an event: refused authorisation.
    pub(crate) fn denied(&mut self, matched: &Matched<'_, '_>, headers: &HeaderMap) {
        self.becomes_event(matched, headers);
        if let Some(event) = &mut self.event {
            event.denial = true;
        }
    }

    /// A genuine credential of one tenant was used at another's door: an event of its own tenant.
    pub(crate) fn wrong_tenant(&mut self, own: TenantId, who: &Who<'_>, headers: &HeaderMap) {
        self.tenant = Some(own);
        self.is_by(who);
        self.event = Some(Box::new(Event {
            denial: true,
            target_kind: "wrong_tenant".to_owned(),
            target_id: String::new(),
            user_agent: user_agent(headers),
        }));
    }

    /// The name of the service it goes to.
    pub(crate) fn service(&self) -> &str {
        let routes = self.view.directory.routes.routes();
        self.route.map_or("", |index| &routes[index].definition.service)
    }

    /// Whether the client's body needs nothing more from the upstream connection.
    pub(crate) fn request_body_is_over(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.fate.get() == BodyFate::Complete)
    }

    /// Bytes of the client's body that have been passed on.
    pub(crate) fn request_body_sent(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.bytes.get())
    }

    /// Whether the client's body ended badly.
    pub(crate) fn request_body_broke_off(&self) -> bool {
        use BodyFate::{Broken, TooLarge, TooSlow};
        let broke_off = |body: &Rc<BodyWatch>| matches!(body.fate.get(), Broken | TooLarge | TooSlow);
        self.body.as_ref().is_some_and(broke_off)
    }

    /// The answer is complete: its last frame is about to leave.
    pub(crate) fn served(mut self: Box<Self>) {
        let _ = self.write(&End { outcome: Outcome::Served, status: None, refusal: None, continues: false });
    }

    /// What passed while it was a WebSocket.
    pub(crate) fn tunnelled(&mut self, up: Passed, down: Passed) {
        self.body.get_or_insert_default().bytes.set(up.bytes);
        self.bytes_out = down.bytes;
        self.messages = up.messages.saturating_add(down.messages);
    }

    /// Whether anything passed that no record has told of.
    pub(crate) fn has_news(&self) -> bool {
        let bytes_in = self.body.as_ref().map_or(0, |body| body.bytes.get());
        self.told.is_some_and(|told| (told.bytes_in, told.bytes_out) != (bytes_in, self.bytes_out))
    }

    /// Writes what is known so far of a request that goes on: with the first such record what the request counts for, with each what
    /// passed since the one before.
    pub(crate) fn goes_on(&mut self) {
        let end = End { outcome: Outcome::Served, status: None, refusal: None, continues: true };
        self.settle();
        let status = self.upstream_status.unwrap_or(CLIENT_GONE);
        let bytes_in = self.body.as_ref().map_or(0, |body| body.bytes.get());
        if self.append(&end, status, bytes_in).is_err() {
            self.core.lost_record();
        }
        let (at_us, _) = self.core.now_us();
        let (bytes_out, messages) = (self.bytes_out, self.messages);
        self.told = Some(Told { at_us, at: Instant::now(), bytes_in, bytes_out, messages });
        self.event = None;
    }

    /// A stream goes on: once in a while it is written what passed.
    pub(crate) fn streams_on(&mut self) {
        if self.told.is_none() || self.has_news() {
            self.goes_on();
        }
    }

    /// Nothing is written of it.
    pub(crate) fn forget(mut self: Box<Self>) {
        self.written = true;
    }

    /// Answered from here, for nobody to be charged.
    pub(crate) fn answered(&mut self, status: u16) {
        let _ = self.write(&End {
            outcome: Outcome::Served,
            status: Some(status),
            refusal: None,
            continues: false,
        });
    }

    /// The copy has answered to the end; whether well, its status says.
    pub(crate) fn copy_has_answered(&self) {
        let did_well = |status: &u16| StatusCode::from_u16(*status).is_ok_and(|status| !is_failure(status));
        if let (Some(copy), Some(_)) = (&self.upstream, self.upstream_status.filter(did_well)) {
            copy.note(self.started_at_us, None);
        }
    }

    /// The copy did not come to the end of its answer. It may be excused if the client did not come to the end of its request.
    pub(crate) fn copy_broke_off(&self, care: &Care) {
        if self.request_body_broke_off() {
            return;
        }
        if let Some(copy) = &self.upstream {
            copy.note(self.started_at_us, Some(Trouble::Broken));
        }
        care.circuit.borrow_mut().broke_off(self.started_at_us);
    }

    /// The upstream broke off in the middle of its answer.
    pub(crate) fn upstream_broke_off(mut self: Box<Self>) {
        let _ = self.write(&End {
            outcome: Outcome::UpstreamFailed,
            status: None,
            refusal: None,
            continues: false,
        });
    }

    /// The request was refused, by us or for want of an answer. Returns the record's place in the lane.
    pub(crate) fn refused(&mut self, refusal: &Refusal) -> Result<u64, AppendError> {
        let kind = refusal.kind();
        let outcome = if kind.fault == Fault::Upstream { Outcome::UpstreamFailed } else { Outcome::Refused };
        self.write(&End { outcome, status: Some(kind.status), refusal: Some(kind), continues: false })
    }

    fn write(&mut self, end: &End) -> Result<u64, AppendError> {
        self.written = true;
        let told = || self.told_instead.map_or(CLIENT_GONE, |kind| kind.status);
        let status = end.status.or(self.upstream_status).unwrap_or_else(told);
        let duration_us = micros(self.started.elapsed());
        let bytes_in = self.body.as_ref().map_or(0, |body| body.bytes.get());
        self.core.metrics.count(&Counted {
            outcome: end.outcome,
            status,
            refusal: end.refusal,
            duration_us,
            upstream_us: self.upstream_us,
            bytes_in,
            bytes_out: self.bytes_out,
        });
        self.settle();
        let appended = self.append(end, status, bytes_in);
        if appended.is_err() {
            self.core.lost_record();
        }
        appended
    }

    fn append(&self, end: &End, status: u16, bytes_in: u64) -> Result<u64, AppendError> {
        let (began_us, began) =
            self.told.map_or((self.started_at_us, self.started), |told| (told.at_us, told.at));
        let (before_in, before_out) = self.told.map_or((0, 0), |told| (told.bytes_in, told.bytes_out));
        let directory = &self.view.directory;
        let route = self.route.map(|index| &directory.routes.routes()[index]);
        let method = self.method.as_str();
        let event = self.event.as_ref().filter(|event| event.denial || end.outcome != Outcome::Refused);
        let mut address = AddressText([0; 48]);
        let record = RequestRecord {
            request_id: self.request_id.as_u128(),
            started_at_us: began_us,
            clock_stepped: self.clock_stepped,
            continues: end.continues,
            duration_us: micros(began.elapsed()),
            upstream_us: self.upstream_us.unwrap_or(0),
            directory_version: directory.version,
            tenant: self.tenant.map(TenantId::as_u128),
            principal_kind: principal_kind(self.principal.map_or(PrincipalKind::Anonymous, |own| own.kind)),
            principal: self.principal.map(|own| own.id.as_u128()),
            api_key: self.public_id.as_ref().map_or("", |id| id.as_str()),
            service: route.map_or("", |route| &route.definition.service),
            route: route.map_or("", |route| &route.definition.name),
            endpoint: route.map_or("", |route| route.endpoint(method)),
            upstream: self.upstream.as_ref().map_or("", |upstream| &upstream.address),
            release: match (route, self.release) {
                (Some(route), Some(release)) => directory.services[route.service].release_name(release),
                _ => "",
            },
            protocol: self.protocol,
            method,
            status,
            outcome: end.outcome,
            fault: fault(end, status),
            refusal: end.refusal.map_or("", |kind| kind.code),
            permission: self.permission.map_or("", |id| directory.permissions.name(id)),
            limit_hit: self.limit.map_or("", |(place, _)| self.standings.name(place, &directory.limits)),
            limit_remaining: self.limit.map_or(0, |(_, remaining)| remaining),
            bytes_in: bytes_in.saturating_sub(before_in),
            bytes_out: self.bytes_out.saturating_sub(before_out),
            usage: self.usage(),
            client_ip: match self.client == self.peer.address {
                true => self.peer.address_text.to_str().unwrap_or_default(),
                false => address.write(self.client),
            },
            user_agent: event.map_or("", |event| &event.user_agent),
            trace_id: Some(self.trace_id),
            region: &directory.naming.region,
            audit: event.map(|event| AuditMark {
                counter: self.core.next_audit_counter(self.tenant.unwrap_or(OPERATOR_TENANT)),
                target_kind: &event.target_kind,
                target_id: &event.target_id,
                application: self.application.map(ApplicationId::as_u128),
            }),
        };
        let class = if event.is_some_and(|event| event.denial) { Class::S } else { Class::R };
        self.core.lane.borrow_mut().append_record(class, &record)
    }

    /// Whether the request is used as `when` counts.
    fn used(&self, when: CountWhen) -> bool {
        if self.unheard { when.counts_unheard() } else { when.counts(self.upstream_status) }
    }

    /// What was used: what the service reported, else what the route counts.
    fn usage(&self) -> UsagePairs<'_> {
        let mut pairs = UsagePairs::default();
        if self.tenant.is_none() || !self.counts {
            return pairs;
        }
        let rules = self.route.map_or(&[][..], |index| &self.view.directory.routes.routes()[index].usage);
        let is_news = |when: CountWhen| when == CountWhen::Message || self.told.is_none();
        let counted = rules.iter().filter(|(meter, _, when)| {
            is_news(*when) && self.used(*when) && !self.reported.iter().any(|(known, _)| **known == **meter)
        });
        let messages = self.messages.saturating_sub(self.told.map_or(0, |told| told.messages));
        let messages = i128::from(messages);
        let units = |quantity: &Quantity, when: CountWhen| match when {
            CountWhen::Message => quantity.units().saturating_mul(messages),
            _ => quantity.units(),
        };
        let counted = counted.map(|(meter, quantity, when)| (&**meter, units(quantity, *when)));
        let counted = counted.filter(|(_, units)| self.told.is_none() || *units != 0);
        let reported = self
            .reported
            .iter()
            .filter(|_| self.told.is_none())
            .map(|(meter, quantity)| (&**meter, quantity.units()));
        for (meter, units) in reported.chain(counted) {
            if pairs.push(meter, units).is_err() {
                tracing::error!(meter, "a request counts for more meters than a record can hold");
            }
        }
        pairs
    }

    /// Replaces what was reserved by what was used, and charges quotas that nothing was reserved of.
    fn settle(&mut self) {
        if self.reservations.is_empty() && self.reported.is_empty() && self.told.is_none() {
            return;
        }
        let mut reservations = std::mem::take(&mut self.reservations);
        let mut unreserved = Vec::new();
        let at_us = self.told.map_or(self.started_at_us, |told| told.at_us);
        for (meter, units) in self.usage().iter() {
            match reservations.iter().position(|reservation| reservation.meter() == meter) {
                Some(place) => reservations.swap_remove(place).settle(units, at_us),
                None => unreserved.push((meter, units)),
            }
        }
        let tenant = self.tenant.and_then(|tenant| self.view.directory.tenants.get(&tenant));
        for (meter, units) in unreserved {
            let Some(tenant) = tenant else { continue };
            if let Some(place) = tenant.quotas.iter().position(|quota| &*quota.meter == meter) {
                let (counter, _) = self.core.quotas.counter(tenant, place, at_us);
                counter.noted_at(at_us);
                counter.note(units, 0);
            }
        }
        // Reservations of what did not count are dropped here, which gives them back.
        let made = self.upstream_status.is_some_and(|status| status < 400) && self.method != Method::DELETE;
        for reservation in reservations {
            match (self.unheard, made) {
                (true, _) => reservation.keep(),
                (false, true) => reservation.keep_if_standing(),
                (false, false) => drop(reservation),
            }
        }
    }

    /// What this gateway has admitted of a quota of the request's tenant.
    pub(crate) fn usage_of(&self, quota: &Quota) -> i128 {
        let tenant = self.tenant.and_then(|tenant| self.view.directory.tenants.get(&tenant));
        let place = tenant.and_then(|own| own.quotas.iter().position(|known| known.meter == quota.meter));
        let (Some(tenant), Some(place)) = (tenant, place) else { return 0 };
        self.core.quotas.counter(tenant, place, self.started_at_us).0.used()
    }

    /// How much of a meter the route would count.
    pub(crate) fn asked_of(&self, meter: &str) -> i128 {
        let usage = self.route.map_or(&[][..], |index| &self.view.directory.routes.routes()[index].usage);
        usage.iter().filter(|(known, _, _)| **known == *meter).map(|(_, quantity, _)| quantity.units()).sum()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.written {
            let _ = self.write(&End {
                outcome: Outcome::ClientAborted,
                status: None,
                refusal: self.told_instead,
                continues: false,
            });
        }
    }
}

/// How a request ended.
struct End {
    /// Whether it has not, and a later record tells what comes.
    continues: bool,
    outcome: Outcome,
    status: Option<u16>,
    refusal: Option<&'static Kind>,
}

fn fault(end: &End, status: u16) -> rowhouse_journal::Fault {
    use rowhouse_journal::Fault as Recorded;
    match (end.refusal.map(|kind| kind.fault), end.outcome) {
        (Some(Fault::Caller), _) | (None, Outcome::ClientAborted) => Recorded::Caller,
        (Some(Fault::Upstream), _) | (None, Outcome::UpstreamFailed) => Recorded::Upstream,
        (Some(Fault::Ours), _) => Recorded::Ours,
        (None, _) if status >= 500 => Recorded::Upstream,
        (None, _) => Recorded::None,
    }
}

fn principal_kind(kind: PrincipalKind) -> rowhouse_journal::PrincipalKind {
    use rowhouse_journal::PrincipalKind as Recorded;
    match kind {
        PrincipalKind::User => Recorded::User,
        PrincipalKind::ServiceAccount => Recorded::ServiceAccount,
        PrincipalKind::ApiKey => Recorded::ApiKey,
        PrincipalKind::System => Recorded::System,
        PrincipalKind::Anonymous => Recorded::Anonymous,
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn user_agent(headers: &HeaderMap) -> String {
    let value = headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

static REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");

/// The id that came with the request, if it is one UUID in the usual form.
fn given_id(headers: &HeaderMap) -> Option<(Uuid, HeaderValue)> {
    let mut values = headers.get_all(&REQUEST_ID).iter();
    let text = values.next()?;
    let id = (text.len() == 36 && values.next().is_none())
        .then(|| Uuid::try_parse_ascii(text.as_bytes()).ok())??;
    // Nil is nobody's name, and no trace may have it either (W3C Trace Context §3.2.2.3).
    (!id.is_nil()).then(|| (id, text.clone()))
}

fn id_text(id: Uuid) -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    let text = id.hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).expect("hexadecimal digits and hyphens")
}

/// An address in text, without allocation.
struct AddressText([u8; 48]);

impl AddressText {
    fn write(&mut self, address: IpAddr) -> &str {
        use std::io::Write as _;
        let mut rest = &mut self.0[..];
        // 39 characters are the longest.
        let _ = write!(rest, "{address}");
        let length = 48 - rest.len();
        std::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}
