//! Code that runs in the place of a service's shared process, as the operating system's user that `deploy.service_users` gives it. It is
//! trusted with the tenants that it serves, and with nothing else: no key, file, log or socket of Rowhouse's, of another service's or of a
//! dedicated tenant's, and the shared server only as a tenant's login.
//!
//! Only where root runs Rowhouse is anything promised; as anybody else these stories have nothing to show.

use rustix::process::geteuid;
use serde_json::json;

use super::Attack;
use super::process::{login, names_of, secrets_of};
use crate::platform::{Call, Platform, text};
use crate::services::scratch;

/// Said by an attack that got through.
const THROUGH: &str = "GOT-THROUGH";
const USER: u32 = 1_900_100_041;
/// `deploy.services_group`, if nobody says otherwise.
const GROUP: u32 = 1_900_100_000;

/// Shell, with `$P` a psql, `$DATA` Rowhouse's directory, `$SOCKET` the shared server's, `$THEIRS` the directory of a dedicated tenant,
/// `$VICTIM` its id, `$MAIN` Rowhouse's process, `$CONTROL` and `$ADMIN` its ports.
#[rustfmt::skip]
const ATTACKS: &[(&str, &str)] = &[
    ("the shared server as its superuser, from a shared process", "$P -h $SOCKET -U rowhouse_super postgres -c \"select 'GOT-THROUGH'\""),
    ("the control database, from a shared process", "$P -h $SOCKET -U rowhouse_service rowhouse -c \"select 'GOT-THROUGH'\"; for r in rh_app rh_migrator rh_mover_1; do $P -h $SOCKET -U $r rowhouse -c \"select 'GOT-THROUGH'\"; done"),
    ("the shared server as a mover, past policies", "for n in 1 2 3 64 128; do $P -h $SOCKET -U rh_mover_$n rh_shared -c \"select 'GOT-THROUGH'\"; done"),
    ("the shared server as the migrator", "$P -h $SOCKET -U rh_migrator rh_shared -c \"select 'GOT-THROUGH'\""),
    ("the shared server as a service's owner", "for r in rh_owner rh_guard rh_mover rh_password rh_s_0000000000000000; do $P -h $SOCKET -U $r rh_shared -c \"select 'GOT-THROUGH'\"; done"),
    ("the shared server's log of changes", "/usr/lib/postgresql/*/bin/pg_basebackup -h $SOCKET -U rowhouse_super -D /tmp/rh-stolen-$$ && echo GOT-THROUGH; $P -h $SOCKET -U rh_app 'dbname=rh_shared replication=database' -c 'IDENTIFY_SYSTEM' && echo GOT-THROUGH"),
    ("rows without a context", "$P -h $SOCKET -U rh_app rh_shared -c \"select 'GOT-THROUGH' from echo.stamps\""),
    ("the keys that sign contexts", "$P -h $SOCKET -U rh_app rh_shared -c \"select 'GOT-THROUGH' from rh.key\"; $P -h $SOCKET -U rh_app rh_shared -c \"select 'GOT-THROUGH' from rh.place\""),
    ("a role of more rights, from the shared login", "for r in rowhouse_super rh_mover_1 rh_mover rh_guard rh_migrator pg_read_all_data; do $P -h $SOCKET -U rh_app rh_shared -c \"set role $r; select 'GOT-THROUGH'\"; done"),
    ("a file through the shared login", "$P -h $SOCKET -U rh_app rh_shared -c \"copy (select 1) to program 'true'; select 'GOT-THROUGH'\"; $P -h $SOCKET -U rh_app rh_shared -c \"select 'GOT-THROUGH' from pg_read_file('PG_VERSION')\""),
    ("a database of no tenant's", "for d in postgres template1 rowhouse rh_schemas_1; do $P -h $SOCKET -U rh_app $d -c \"select 'GOT-THROUGH'\"; done"),
    ("the files of the shared server", "ls $DATA/postgres/cluster && echo GOT-THROUGH; ls $DATA/postgres/log && echo GOT-THROUGH"),
    ("who is let into the shared server, rewritten", "for f in $DATA/postgres/settings/*; do echo 'local all all trust' 2>/dev/null >> $f && echo GOT-THROUGH; done; touch $DATA/postgres/settings/x $DATA/postgres/socket/x && echo GOT-THROUGH"),
    ("the shared server's socket, replaced", "rm -f $SOCKET/.s.PGSQL.5432 && echo GOT-THROUGH; mv $SOCKET $SOCKET.old && echo GOT-THROUGH"),
    ("the lock of the shared server", "flock -n $DATA/postgres/rowhouse.lock -c 'echo GOT-THROUGH'"),
    ("a dedicated tenant's server as its superuser", "for r in rowhouse_super rh_mover_1 rh_migrator $LOGIN; do $P -h $THEIRS/server/socket -U $r postgres -c \"select 'GOT-THROUGH'\"; $P -h $THEIRS/server/socket -U $r $LOGIN -c \"select 'GOT-THROUGH'\"; done"),
    ("the files of a dedicated tenant's server", "ls $THEIRS/server/cluster && echo GOT-THROUGH; ls $THEIRS && echo GOT-THROUGH; cat $THEIRS/log/* && echo GOT-THROUGH"),
    ("names of the dedicated tenants", "ls $DATA/instances && echo GOT-THROUGH"),
    ("names of what Rowhouse keeps, from a shared process", "ls $DATA && echo GOT-THROUGH"),
    ("the secrets, from a shared process", "ls $DATA/secrets && echo GOT-THROUGH; cat $DATA/secrets/operator.key $DATA/secrets/master.key && echo GOT-THROUGH"),
    ("the journal, from a shared process", "find $DATA/journal $DATA/audit -type f -readable 2>/dev/null | grep -q . && echo GOT-THROUGH"),
    ("what is kept for tenants, from a shared process", "find $DATA/backups $DATA/exports $DATA/messages $DATA/objects $DATA/archive -readable 2>/dev/null | grep -q . && echo GOT-THROUGH"),
    ("any file of Rowhouse's, changed", "find $DATA -writable -not -type s -not -type l 2>/dev/null | grep -q . && echo GOT-THROUGH"),
    ("the plane for another service, from a shared process", "perl -MIO::Socket::UNIX -e '$s=IO::Socket::UNIX->new(Peer=>$ARGV[0]); print $s \"GET /internal/v1/tenantdb/watch?service=other HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n\"; while(<$s>){print \"GOT-THROUGH\" if /^HTTP.1.1 20/}' $DATA/run/plane.sock"),
    ("the plane for two services at once", "perl -MIO::Socket::UNIX -e 'for my $q (\"service=echo&service=other\", \"service=other&service=echo\", \"service=other%00echo\", \"service=\", \"service=OTHER\") { $s=IO::Socket::UNIX->new(Peer=>$ARGV[0]); print $s \"GET /internal/v1/tenantdb/watch?$q HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n\"; while(<$s>){print \"GOT-THROUGH\" if /^HTTP.1.1 200/} }' $DATA/run/plane.sock"),
    ("the plane, replaced, from a shared process", "rm -f $DATA/run/plane.sock && echo GOT-THROUGH; touch $DATA/run/x && echo GOT-THROUGH"),
    ("the environment and memory of Rowhouse", "cat /proc/$MAIN/environ && echo GOT-THROUGH; head -c 1 /proc/$MAIN/mem && echo GOT-THROUGH; ls -l /proc/$MAIN/fd/ >/dev/null && echo GOT-THROUGH"),
    ("an end to Rowhouse, from a shared process", "kill -9 $MAIN && echo GOT-THROUGH"),
    ("an end to the shared server", "kill -9 $(head -1 $DATA/postgres/cluster/postmaster.pid) && echo GOT-THROUGH; for p in $(ls /proc | grep '^[0-9]*$'); do [ \"$(stat -c %u /proc/$p 2>/dev/null)\" != \"$(id -u)\" ] && grep -aq \"$DATA\" /proc/$p/cmdline 2>/dev/null && kill -9 $p && echo GOT-THROUGH; done"),
    ("another user, from a shared process", "setpriv --reuid 0 id -u 2>/dev/null | grep -x 0 && echo GOT-THROUGH; su -c 'echo GOT-THROUGH' postgres < /dev/null"),
    ("the control API without a key, from a shared process", "perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(PeerAddr=>\"127.0.0.1\",PeerPort=>$ARGV[0]); print $s \"GET /v1/tenants HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n\"; while(<$s>){print \"GOT-THROUGH\" if /^HTTP.1.1 200/}' $CONTROL"),
];

pub fn attacks() -> Vec<Attack> {
    ATTACKS.iter().map(|(name, _)| Attack { name, level: "shared" }).collect()
}

/// Runs a line of shell as the service's user, with no other group.
async fn run(line: &str) -> String {
    let output = tokio::process::Command::new("setpriv")
        .args(["--reuid", &USER.to_string(), "--regid", &GROUP.to_string(), "--clear-groups", "sh", "-c"])
        .arg(format!("exec 2>&1; {line}"))
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(std::process::Stdio::null())
        .output();
    String::from_utf8_lossy(&output.await.expect("a shell").stdout).into_owned()
}

async fn put_tables(platform: &Platform, service: &str) {
    let tables = json!({"manifest": "[table.stamps]\nkind = \"tenant\"\n", "migrations": [{"number": 1, "name": "stamps",
        "sql": "CREATE TABLE stamps (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL, hash text, PRIMARY KEY (tenant_id, id))"}]});
    let put = Call::post(&format!("/v1/services/{service}/tables"), tables).method(http::Method::PUT);
    platform.operate(put).await;
}

#[tokio::test]
async fn code_in_a_shared_process_reaches_its_tenants_and_nothing_else() {
    if !geteuid().is_root() {
        return;
    }
    let users = format!("{{ echo = {USER} }}");
    let platform = Platform::start_with(&[("ROWHOUSE_DEPLOY__SERVICE_USERS", &users)]).await;
    put_tables(&platform, "echo").await;
    platform.tenant("attack-shared", "basic", "shared").await;
    let victim = platform.tenant("attack-shared-v", "premium", "instance").await;
    let found = platform.operate(Call::get("/v1/instances?tenant=attack-shared-v")).await["items"][0].clone();
    let theirs = platform.data_dir().join("instances").join(text(&found["desired"]["directory"]));
    let login = login(&platform, "attack-shared-v").await;
    let names = names_of(&platform, &theirs, (&victim.id, &login));
    let secrets = secrets_of(platform.data_dir());
    let mut through = Vec::new();
    for (name, attack) in ATTACKS {
        let said = run(&format!("{names}; {attack}")).await;
        if said.contains(THROUGH) || secrets.iter().any(|secret| said.contains(secret.as_str())) {
            through.push(format!("{name}: {said}"));
        }
    }
    assert!(through.is_empty(), "{} attacks got through:\n{}", through.len(), through.join("\n"));
    nothing_is_open_to_it(&platform, &names).await;
    what_it_may(&names).await;
    as_root_they_get_through(&names).await;
    assert_eq!(platform.admin("/health/ready").await.status, 200);
    platform.until(200, || Call::get("/v1/notes/1").tenant(&victim)).await;
}

/// Of all that root finds below Rowhouse's directory, it reads what the server is set to, which says nothing of anybody, and changes nothing.
/// Folders that it could not list are looked into by name.
async fn nothing_is_open_to_it(platform: &Platform, names: &str) {
    let list = scratch("files").join("list");
    let find = format!("find {} > {}", platform.data_dir().display(), list.display());
    let found = tokio::process::Command::new("sh").args(["-c", &find]).status().await.expect("a shell");
    // What comes and goes meanwhile is no failure; that it found much is seen below.
    let all = std::fs::read_to_string(&list).expect("a list");
    assert!(all.lines().count() > 500, "{found}: {all}");
    let look = format!(
        "{names}; while read -r f; do [ -f \"$f\" ] && [ -r \"$f\" ] && echo \"read $f\"; [ -w \"$f\" ] && [ ! -S \"$f\" ] && echo \"write $f\"; done < {}",
        list.display()
    );
    let said = run(&look).await;
    let settings = platform.data_dir().join("postgres/settings").display().to_string();
    let open: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with(&format!("read {settings}/")))
        // This one is the test's own, which a service manager would keep elsewhere.
        .filter(|line| !line.ends_with("/rowhouse.log"))
        .collect();
    assert!(open.is_empty(), "open to a shared process: {open:?}");
    let settings = run(&format!("cat {settings}/*")).await.to_lowercase();
    assert!(!settings.is_empty() && !settings.contains("password ="), "{settings}");
}

/// The shared server as the shared login, and the plane for its own service.
async fn what_it_may(names: &str) {
    let may = run(&format!("{names}; $P -h $SOCKET -U rh_app rh_shared -c \"select 'as itself'\"")).await;
    assert!(may.contains("as itself"), "{may}");
    let plane = "perl -MIO::Socket::UNIX -e '$s=IO::Socket::UNIX->new(Peer=>$ARGV[0]); print $s \"GET /internal/v1/tenantdb/watch?service=echo HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n\"; while(<$s>){print}' $DATA/run/plane.sock";
    let told = run(&format!("{names}; {plane}")).await;
    assert!(told.contains("HTTP/1.1 200") && told.contains("rh_shared"), "{told}");
}

/// The suite can see: as root the same lines get through.
async fn as_root_they_get_through(names: &str) {
    let through = [
        "the shared server as its superuser, from a shared process",
        "the secrets, from a shared process",
        "names of the dedicated tenants",
        "the plane for another service, from a shared process",
    ];
    for (name, attack) in ATTACKS.iter().filter(|(name, _)| through.contains(name)) {
        let output =
            tokio::process::Command::new("sh").args(["-c", &format!("{names}; {attack}")]).output().await;
        let said = String::from_utf8_lossy(&output.expect("a shell").stdout).into_owned();
        assert!(said.contains(THROUGH), "{name} as root: {said}");
    }
}
