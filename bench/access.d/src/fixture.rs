//! 1,000 tenants with 200 people each, as the gateway has them: a directory. Each person has one of three roles, one in ten a grant on a
//! thing besides, and a key. Ids are as UUIDs of the seventh version are: the time in front, random at the end.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use rowhouse_domain::access::*;
use rowhouse_domain::directory::{Directory, Key, Naming, Tenant};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::id::{KeyId, TenantId};
use rowhouse_domain::keys::{Environment, KeyStanding, KeyState, Narrowing, Pepper, Peppers, generate};
use rowhouse_domain::tenancy::{Isolation, Service, Status};
use uuid::Uuid;

use crate::measure::{Figures, Random};

pub const TENANTS: usize = 1_000;
pub const EACH: usize = 200;
/// One in so many has a grant on a thing.
const WITH_A_THING: usize = 10;
pub const ROLES: [&str; 3] = ["viewer", "editor", "admin"];
pub const TYPES: usize = 60;
pub const ACTIONS: [&str; 4] = ["create", "read", "update", "delete"];
/// Somewhere in 2026.
pub const NOW_US: i64 = 1_795_348_800_000_000;

pub struct Fixture {
    pub directory: Directory,
    pub permissions: Arc<Permissions>,
    pub roles: RoleCatalogue,
    pub peppers: Peppers,
    /// The keys' texts, as they are sent.
    pub sent: Vec<String>,
}

fn mixed(number: usize, salt: u128) -> Uuid {
    let number = number as u128 + 1;
    let mut random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835 ^ (salt << 8));
    random ^= random >> 67;
    random = random.wrapping_mul(0xD6E8_FEB8_6659_FD93_C2B2_AE3D_27D4_EB4F);
    Uuid::from_u128((number << 84) | ((random >> 44) & !(0xF << 76)) | 0x7 << 76)
}

pub fn principal(tenant: usize, number: usize) -> Principal {
    Principal { kind: PrincipalKind::User, id: mixed(tenant * EACH + number, 1) }
}

pub fn tenant_id(tenant: usize) -> TenantId {
    TenantId(mixed(tenant, 2))
}

pub fn role_of(number: usize) -> &'static str {
    ROLES[number % ROLES.len()]
}

fn permissions() -> Permissions {
    let types = (0..TYPES).map(|number| (format!("type{number:02}"), ACTIONS.map(str::to_owned).to_vec()));
    Permissions::new(&types.collect::<BTreeMap<_, _>>()).expect("240 fit")
}

fn roles(permissions: &Permissions) -> RoleCatalogue {
    let role = |name: &str, own: Vec<String>, inherits: &[&str]| RoleDefinition {
        name: name.into(),
        title: String::new(),
        permissions: own,
        inherits: inherits.iter().map(|one| (*one).to_owned()).collect(),
        ..RoleDefinition::default()
    };
    let all = [
        role("viewer", vec!["*:read".into()], &[]),
        role("editor", (0..TYPES / 2).map(|n| format!("type{n:02}:update")).collect(), &["viewer"]),
        role("admin", vec!["*:*".into()], &["editor"]),
    ];
    RoleCatalogue::new(&all, permissions).expect("no circle")
}

pub fn grant(holder: Principal, target: GrantTarget, resource: Option<ResourceName>) -> Grant {
    Grant {
        id: Uuid::nil(),
        holder: Holder::Principal(holder),
        effect: GrantEffect::Allow,
        target,
        resource,
        interval: Interval::ALWAYS,
        condition: None,
    }
}

pub fn folder(number: usize) -> ResourceName {
    ResourceName { kind: "type01".into(), id: format!("folder{number}") }
}

/// Five folders in each other, the first outermost.
pub fn folders() -> Vec<Resource> {
    let held = |n| Resource { name: folder(n), parent: Some(folder(n - 1)), attributes: Default::default() };
    (1..5).map(held).collect()
}

pub fn table(
    tenant: usize,
    with_things: bool,
    permissions: &Permissions,
    roles: &RoleCatalogue,
) -> AccessTable {
    let role = |number| grant(principal(tenant, number), GrantTarget::Role(role_of(number).into()), None);
    let mut grants: Vec<Grant> = (0..EACH).map(role).collect();
    let on_folder = |number| {
        let target = GrantTarget::Permission("type01:delete".into());
        grant(principal(tenant, number), target, Some(folder(0)))
    };
    if with_things {
        grants.extend((0..EACH).step_by(WITH_A_THING).map(on_folder));
    }
    let resources = folders();
    let model = Model {
        permissions,
        roles,
        grants: &grants,
        memberships: &[],
        resources: &resources,
        principals: &[],
        sessions: Sessions::default(),
    };
    model.compile(1)
}

fn tenant(number: usize, access: AccessTable) -> Tenant {
    Tenant {
        id: tenant_id(number),
        code: format!("tenant-{number}").into(),
        tier: "basic".into(),
        isolation: Isolation::Shared,
        region: "eu1".into(),
        status: Status::Active,
        service: Service::Full,
        api_access: true,
        features: Vec::new(),
        enforcements: Vec::new(),
        imposed: Vec::new(),
        access: Arc::new(access),
        limits: Vec::new(),
        quotas: Vec::new(),
        upstreams: Vec::new(),
        ended_sessions: Arc::from([]),
        issuers: Arc::default(),
        authorities: Arc::default(),
        version: 1,
    }
}

fn key(number: usize, digest: [u8; 32], permits: PermissionSet) -> Key {
    let id = KeyId(mixed(number, 3));
    let network = "10.0.0.0/8".parse().expect("a network");
    Key {
        id,
        tenant: tenant_id(number / EACH),
        owner: principal(number / EACH, number % EACH),
        environment: Environment::Live,
        standing: KeyStanding {
            state: KeyState::Active,
            not_before_us: Some(0),
            expires_at_us: Some(i64::MAX),
            owner_enabled: true,
        },
        digest,
        pepper: 1,
        permits,
        narrowed: Narrowing { allowed_ips: Box::new([network]), ..Narrowing::default() }.boxed(),
        family: id,
    }
}

impl Fixture {
    pub fn new(figures: &mut Figures) -> Self {
        let permissions = Arc::new(permissions());
        let roles = roles(&permissions);
        let mut directory = Directory::empty();
        directory.naming = Arc::new(Naming { region: "eu1".into(), ..Naming::default() });
        directory.permissions = permissions.clone();
        for number in 0..TENANTS {
            directory.put_tenant(tenant(number, table(number, true, &permissions, &roles)));
        }
        let peppers = Peppers::new(vec![Pepper::new(1, &[7; 32])]);
        let random = std::sync::Mutex::new(Random(0x2545_F491_4F6C_DD1D));
        let entropy = Entropy::new(move |out| {
            let mut random = random.lock().expect("no panic while held");
            out.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        });
        let everything = permissions.matching("*:*").expect("declared");
        let mut sent = Vec::new();
        for number in 0..TENANTS * EACH {
            let (text, public_id) = generate(Environment::Live, "eu1", &entropy);
            let key = key(number, peppers.current().digest(&text), everything);
            directory.keys.insert(public_id, Arc::new(key));
            sent.push(format!("Bearer {text}"));
        }
        figures.put("tenants", TENANTS as f64);
        figures.put("principals", (TENANTS * EACH) as f64);
        let fixture = Fixture { directory, permissions, roles, peppers, sent };
        fixture.count_bytes(figures);
        fixture
    }

    /// What stays allocated of the same tables, made once more.
    fn count_bytes(&self, figures: &mut Figures) {
        let each = |with_things: bool| {
            let counted = allocation_counter::measure(|| {
                let tables: Vec<AccessTable> = (0..TENANTS / 10)
                    .map(|n| table(n, with_things, &self.permissions, &self.roles))
                    .collect();
                std::mem::forget(black_box(tables));
            });
            counted.bytes_current as f64 / (TENANTS / 10 * EACH) as f64
        };
        figures.put("bytes_per_principal", each(true));
        figures.put("bytes_per_principal_with_roles_only", each(false));
        let of_things = |count: usize| {
            let counted = allocation_counter::measure(|| {
                let read = || GrantTarget::Permission("type01:read".into());
                let one = |n| grant(principal(0, n % 100), read(), Some(folder(n)));
                let grants: Vec<Grant> = (0..count).map(one).collect();
                let (permissions, roles) = (&self.permissions, &self.roles);
                let model = Model {
                    permissions,
                    roles,
                    grants: &grants,
                    memberships: &[],
                    resources: &[],
                    principals: &[],
                    sessions: Sessions::default(),
                };
                std::mem::forget(black_box(model.compile(1)));
            });
            counted.bytes_current as f64
        };
        figures.put("bytes_per_resource_grant", (of_things(110_000) - of_things(10_000)) / 100_000.0);
    }
}
