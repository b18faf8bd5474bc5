//! Code that runs in the place of a dedicated tenant's own process. It is as bad as can be: a program that runs whatever it is sent,
//! as the operating system's user that the tenant's process has. Beside it another dedicated tenant, and tenants on the shared server.
//!
//! Only where root runs Rowhouse is anything promised (`control::deploy`); as anybody else these stories have nothing to show.

use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Attack;
use crate::platform::{Call, PATIENCE, Platform, text};
use crate::services::scratch;

const CANARY: &str = "CANARY-PROCESS-90c2";
/// Said by an attack that got through.
const THROUGH: &str = "GOT-THROUGH";

/// Shell, with `$P` a psql, `$DATA` Rowhouse's directory, `$SOCKET` the shared server's, `$OWN` and `$THEIRS` the directories of the
/// two instances, `$VICTIM` the victim's id, `$LOGIN` its login, `$PORT` the port of its process, `$PID` that process, `$MAIN` Rowhouse's.
#[rustfmt::skip]
const ATTACKS: &[(&str, &str)] = &[
    ("the shared server as its superuser", "$P -h $SOCKET -U rowhouse_super postgres -c \"select 'GOT-THROUGH'\""),
    ("the shared server as the shared login", "$P -h $SOCKET -U rh_app rh_shared -c \"select 'GOT-THROUGH'\""),
    ("the control database", "$P -h $SOCKET -U rowhouse_service rowhouse -c \"select 'GOT-THROUGH'\""),
    ("its own server as the superuser", "$P -h $OWN/server/socket -U rowhouse_super postgres -c \"select 'GOT-THROUGH'\""),
    ("its own server as the mover, past policies", "$P -h $OWN/server/socket -U rh_mover_1 postgres -c \"select 'GOT-THROUGH'\""),
    ("its own server as the migrator, owner of tables", "$P -h $OWN/server/socket -U rh_migrator postgres -c \"select 'GOT-THROUGH'\""),
    ("a copy of its own server's log of changes", "/usr/lib/postgresql/*/bin/pg_basebackup -h $OWN/server/socket -U rowhouse_super -D /tmp/rh-stolen-$$ && echo GOT-THROUGH"),
    ("another tenant's server as the superuser", "$P -h $THEIRS/server/socket -U rowhouse_super postgres -c \"select 'GOT-THROUGH'\""),
    ("another tenant's server as its login", "$P -h $THEIRS/server/socket -U $LOGIN $LOGIN -c \"select 'GOT-THROUGH'\""),
    ("the files of another tenant's server", "ls $THEIRS/server/cluster/base && echo GOT-THROUGH"),
    ("the files of its own server", "ls $OWN/server/cluster/base && echo GOT-THROUGH"),
    ("the files of the shared server", "ls $DATA/postgres/cluster && echo GOT-THROUGH"),
    ("the files of another tenant's process", "cat $THEIRS/echo/secret.txt"),
    ("files beside another tenant's process", "touch $THEIRS/echo/planted && echo GOT-THROUGH; touch $THEIRS/planted && echo GOT-THROUGH"),
    ("what another tenant's process is told", "cat $THEIRS/echo.env && echo GOT-THROUGH"),
    ("what it itself is told, replaced", "(rm -f $OWN/echo.env; echo PATH=/evil > $OWN/echo.env) && echo GOT-THROUGH"),
    ("another tenant's log", "cat $THEIRS/log/* && echo GOT-THROUGH"),
    ("the operator's key", "cat $DATA/secrets/operator.key && echo GOT-THROUGH"),
    ("the secrets of the installation", "ls $DATA/secrets && echo GOT-THROUGH; cat $DATA/secrets/master.key && echo GOT-THROUGH"),
    ("the journal of requests", "find $DATA/journal -type f -readable -size +1k | grep -q . && echo GOT-THROUGH"),
    ("the audit logs' checkpoints", "find $DATA/audit -type f -readable | grep -q . && echo GOT-THROUGH"),
    ("backups, exports and messages", "find $DATA/backups $DATA/exports $DATA/messages $DATA/objects $DATA/archive -readable 2>/dev/null | grep -q . && echo GOT-THROUGH"),
    ("names of what Rowhouse keeps", "ls $DATA && echo GOT-THROUGH"),
    ("names of the other instances", "ls $DATA/instances && echo GOT-THROUGH"),
    ("the socket of the guard's lock", "flock -n $THEIRS/server/rowhouse.lock -c 'echo GOT-THROUGH'"),
    ("the plane for another tenant", "perl -MIO::Socket::UNIX -e '$s=IO::Socket::UNIX->new(Peer=>$ARGV[0]); print $s \"GET /internal/v1/tenantdb/watch?service=echo&tenant=$ARGV[1] HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n\"; while(<$s>){print; print \"GOT-THROUGH\" if /^HTTP.1.1 200/}' $DATA/run/plane.sock $VICTIM"),
    ("the plane for another service", "perl -MIO::Socket::UNIX -e '$s=IO::Socket::UNIX->new(Peer=>$ARGV[0]); print $s \"GET /internal/v1/tenantdb/watch?service=stamping HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n\"; while(<$s>){print \"GOT-THROUGH\" if /^HTTP.1.1 200/}' $DATA/run/plane.sock"),
    ("the plane of all", "perl -MIO::Socket::UNIX -e '$s=IO::Socket::UNIX->new(Peer=>$ARGV[0]); print $s \"GET /internal/v1/tenantdb/watch?service=echo HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n\"; while(<$s>){print \"GOT-THROUGH\" if /$ARGV[1]/ or /rh_shared/}' $DATA/run/plane.sock $VICTIM"),
    ("the plane, replaced by one's own", "rm -f $DATA/run/plane.sock && echo GOT-THROUGH; touch $DATA/run/x && echo GOT-THROUGH"),
    ("the environment of another tenant's process", "cat /proc/$PID/environ && echo GOT-THROUGH"),
    ("the memory of another tenant's process", "head -c 1 /proc/$PID/mem && echo GOT-THROUGH; ls -l /proc/$PID/fd/ >/dev/null && echo GOT-THROUGH"),
    ("an end to another tenant's process", "kill -9 $PID && echo GOT-THROUGH"),
    ("an end to another tenant's server", "for p in $(ls /proc | grep '^[0-9]*$'); do [ \"$(stat -c %u /proc/$p 2>/dev/null)\" != \"$(id -u)\" ] && grep -aq $(basename $THEIRS) /proc/$p/cmdline 2>/dev/null && kill -9 $p && echo GOT-THROUGH; done"),
    ("an end to Rowhouse", "kill -9 $MAIN && echo GOT-THROUGH"),
    ("secrets on command lines", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | sed s/GOT-THROUGH//g"),
    ("a port of another tenant's process", "perl -MIO::Socket::INET -e 'print \"GOT-THROUGH\" if IO::Socket::INET->new(Listen=>1,LocalAddr=>\"127.0.0.1\",LocalPort=>$ARGV[0],ReuseAddr=>1,ReusePort=>1)' $PORT"),
    ("a port of a process to come", "perl -MIO::Socket::INET -e 'for (1..40) { print \"GOT-THROUGH\" if IO::Socket::INET->new(Listen=>1,LocalAddr=>\"127.0.0.1\",LocalPort=>$ARGV[0]+$_) }' $PORT"),
    ("all addresses at once", "perl -MIO::Socket::INET -e 'print \"GOT-THROUGH\" if IO::Socket::INET->new(Listen=>1,LocalAddr=>\"0.0.0.0\",LocalPort=>$ARGV[0])' $PORT"),
    ("another user", "setpriv --reuid 0 id -u 2>/dev/null | grep -x 0 && echo GOT-THROUGH; su -c 'echo GOT-THROUGH' postgres < /dev/null"),
    ("its group's other tenants", "[ \"$(id -G)\" = \"$(id -g)\" ] || echo GOT-THROUGH"),
    ("the metrics of all", "perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(PeerAddr=>\"127.0.0.1\",PeerPort=>$ARGV[0]); print $s \"GET /metrics HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n\"; while(<$s>){print \"GOT-THROUGH\" if /$ARGV[1]|attack-process/}' $ADMIN $VICTIM"),
    ("the control API without a key", "perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(PeerAddr=>\"127.0.0.1\",PeerPort=>$ARGV[0]); print $s \"GET /v1/tenants HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n\"; while(<$s>){print \"GOT-THROUGH\" if /^HTTP.1.1 200/}' $CONTROL"),
    ("another tenant's process, as if one were the gateway", "perl -MIO::Socket::UNIX -e 1; cat $THEIRS/echo/plane.json && echo GOT-THROUGH"),
];

pub fn attacks() -> Vec<Attack> {
    ATTACKS.iter().map(|(name, _)| Attack { name, level: "instance" }).collect()
}

/// Runs each line that it is sent, and says what came of it.
const REMOTE_SHELL: &str = "use IO::Socket::INET; $l = IO::Socket::INET->new(LocalAddr => $ENV{LISTEN}, Listen => 9, ReuseAddr => 1) or die; \
    while ($c = $l->accept) { $line = <$c>; if (defined $line) { $out = `($line) 2>&1 </dev/null`; print $c $out; } close $c; }";

struct Dedicated {
    id: String,
    directory: PathBuf,
    address: String,
    pid: i64,
    login: String,
}

impl Dedicated {
    async fn provision(platform: &Platform, code: &str) -> Dedicated {
        let body = json!({"code": code, "company_name": code, "tier": "premium", "isolation": "instance"});
        let operation = platform.operate(Call::post("/v1/tenants", body)).await;
        platform.ends(&operation["id"], "done").await;
        let id = text(&platform.operate(Call::get(&format!("/v1/tenants/{code}"))).await["id"]);
        let found =
            platform.operate(Call::get(&format!("/v1/instances?tenant={code}"))).await["items"][0].clone();
        let directory = text(&found["desired"]["directory"]);
        let process = &found["observed"]["applications"][0];
        let login = login(platform, code).await;
        Dedicated {
            id,
            directory: platform.data_dir().join("instances").join(directory),
            address: text(&process["address"]),
            pid: process["pid"].as_i64().expect("it runs"),
            login,
        }
    }

    /// What its process answers to a line of shell.
    async fn run(&self, line: &str) -> String {
        let talk = async {
            let mut stream = TcpStream::connect(&self.address).await.expect("its process listens");
            stream.write_all(format!("{}\n", line.replace('\n', ";")).as_bytes()).await.expect("it listens");
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.expect("it answers");
            String::from_utf8_lossy(&said).into_owned()
        };
        tokio::time::timeout(PATIENCE, talk).await.unwrap_or_else(|_| panic!("no end of: {line}"))
    }
}

/// The tenant's login, which nobody but the control database tells.
pub async fn login(platform: &Platform, code: &str) -> String {
    let mut config = tokio_postgres::Config::new();
    config.host_path(platform.data_dir().join("postgres/socket")).user("rowhouse_super").dbname("rowhouse");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("the private server");
    tokio::spawn(connection);
    let sql =
        "SELECT p.login FROM tenancy.places p JOIN tenancy.tenants t USING (tenant_id) WHERE t.code = $1";
    client.query_one(sql, &[&code]).await.expect("a place").get(0)
}

fn shell(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn code_in_a_dedicated_tenants_process_reaches_nothing_of_anybody_elses() {
    if !geteuid().is_root() {
        return;
    }
    let programs = scratch("remote-shell");
    let script = programs.join("shell.pl");
    std::fs::write(&script, REMOTE_SHELL).expect("a script");
    let applications =
        format!("{{ echo = {{ program = \"/usr/bin/perl\", args = [{:?}] }} }}", shell(&script));
    let platform = Platform::start_with(&[("ROWHOUSE_DEPLOY__APPLICATIONS", &applications)]).await;
    let tables = json!({"manifest": "[table.stamps]\nkind = \"tenant\"\n", "migrations": [{"number": 1, "name": "stamps",
        "sql": "CREATE TABLE stamps (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL, hash text, PRIMARY KEY (tenant_id, id))"}]});
    platform.operate(Call::post("/v1/services/echo/tables", tables).method(http::Method::PUT)).await;
    let attacker = Dedicated::provision(&platform, "attack-process-a").await;
    let victim = Dedicated::provision(&platform, "attack-process-v").await;
    victim.run(&format!("echo {CANARY} > secret.txt; chmod 600 secret.txt")).await;
    assert!(victim.run("cat secret.txt; id -u").await.contains(CANARY), "the victim's own process reads it");
    let port = victim.address.rsplit(':').next().expect("a port");
    let data = platform.data_dir();
    let names = format!(
        "{}; OWN={}; PORT={port}; PID={}",
        names_of(&platform, &victim.directory, (&victim.id, &victim.login)),
        shell(&attacker.directory),
        victim.pid,
    );
    let mut secrets = secrets_of(data);
    secrets.push(CANARY.to_owned());
    let before = seen_by_root(&victim);
    let mut through = Vec::new();
    for (name, attack) in ATTACKS {
        let said = attacker.run(&format!("{names}; {attack}")).await;
        if said.contains(THROUGH) || secrets.iter().any(|secret| said.contains(secret.as_str())) {
            through.push(format!("{name}: {said}"));
        }
        assert_eq!(seen_by_root(&victim), before, "{name}: the victim's files have changed");
    }
    assert!(through.is_empty(), "{} attacks got through:\n{}", through.len(), through.join("\n"));
    // What it may: its own server as its own tenant, and the plane for itself.
    let may =
        format!("{names}; $P -h $OWN/server/socket -U {0} {0} -c \"select 'as itself'\"", attacker.login);
    let said = attacker.run(&may).await;
    assert!(said.contains("as itself"), "{said}");
    // The victim is there as before: its process is the same one, and listens.
    assert!(victim.run("echo still there; cat secret.txt").await.contains(CANARY));
    let found =
        platform.operate(Call::get("/v1/instances?tenant=attack-process-v")).await["items"][0].clone();
    assert_eq!(found["observed"]["applications"][0]["pid"].as_i64(), Some(victim.pid), "{found}");
    assert_eq!(platform.admin("/health/ready").await.status, 200);
    nothing_is_open_to_everybody(&attacker, &names).await;
    as_root_they_get_through(&names).await;
}

/// The words that lines of shell take, for a victim with its directory, id and login.
pub fn names_of(platform: &Platform, theirs: &Path, (id, login): (&str, &str)) -> String {
    let [control, admin] = platform.other_ports();
    let data = platform.data_dir();
    format!(
        "P=\"$(ls /usr/lib/postgresql/*/bin/psql | tail -1) -XAtw\"; DATA={}; SOCKET={}; THEIRS={}; VICTIM={id}; LOGIN={login}; MAIN={}; CONTROL={control}; ADMIN={admin}",
        shell(data),
        shell(&data.join("postgres/socket")),
        shell(theirs),
        platform.pid(),
    )
}

/// All that is secret in the installation and must not be read.
pub fn secrets_of(data: &Path) -> Vec<String> {
    let files = std::fs::read_dir(data.join("secrets")).expect("root reads it");
    let texts = files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text"));
    let secrets: Vec<String> = texts.map(|text| text.trim().to_owned()).collect();
    assert!(secrets.len() >= 5);
    secrets
}

/// The victim's files that an attack could have changed, and its secret.
fn seen_by_root(victim: &Dedicated) -> String {
    let mut names: Vec<String> = ["", "echo"]
        .iter()
        .flat_map(|part| std::fs::read_dir(victim.directory.join(part)).expect("root reads it"))
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let environment = std::fs::read_to_string(victim.directory.join("echo.env")).expect("root reads it");
    let secret = std::fs::read_to_string(victim.directory.join("echo/secret.txt")).expect("root reads it");
    format!("{names:?} {environment} {secret}")
}

/// Of all files below Rowhouse's directory, the process reads its own and those that say nothing.
async fn nothing_is_open_to_everybody(attacker: &Dedicated, names: &str) {
    let said = attacker
        .run(&format!("{names}; find $DATA -type f -readable 2>/dev/null | grep -v \"^$OWN/echo/\""))
        .await;
    assert_eq!(said.trim(), "", "files that are open to every process on the machine");
}

/// The suite can see: with the defence gone, as root, the same lines get through.
async fn as_root_they_get_through(names: &str) {
    let through = [
        "the shared server as its superuser",
        "the operator's key",
        "the environment of another tenant's process",
        "names of the other instances",
    ];
    for (name, attack) in ATTACKS.iter().filter(|(name, _)| through.contains(name)) {
        let output =
            tokio::process::Command::new("sh").args(["-c", &format!("{names}; {attack}")]).output().await;
        let said = String::from_utf8_lossy(&output.expect("a shell").stdout).into_owned();
        assert!(said.contains(THROUGH), "{name} as root: {said}");
    }
}
