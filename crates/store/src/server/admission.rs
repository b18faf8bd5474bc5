//! Who may connect to a private server, and as which role: `pg_hba.conf` and `pg_ident.conf`.
//!
//! Only the Unix socket is open. The OS user who runs Rowhouse, the server's own and those named by the caller may be any role;
//! nobody else may be anything.
//!
//! From PostgreSQL 16 an ident map says this (`all` as the role, release notes of 16), over peer authentication. PostgreSQL 15 cannot: its
//! maps name each role, and roles come with tenants. There the kernel says it instead: the socket's directory is 0700, so that only the
//! server's account and root reach the socket at all, and every connection that arrives is one of those two. Hence on 15 nobody
//! else can be named.
//!
//! A server that is kept apart ([`super::Apart`]) has clients without a name of the operating system, which no map can hold. There the
//! socket's directory lets in the server's group, and the map keeps for Rowhouse what administers the server.

use std::fmt::Write as _;

/// First major whose ident maps can say "any role".
const ANY_ROLE_SINCE: u32 = 16;

/// Roles that administer a server: `initdb`'s, those that `rowhouse_tenantdb` makes with more than one tenant's rights (the members of
/// `rh_mover` among them), and the login of the control database.
const ADMINISTRATORS: [&str; 4] = [super::SUPERUSER, "rh_migrator", "+rh_mover", "rowhouse_service"];

/// Members of `rh_mover` are numbered from 1 to this. Their names, too, must be in a map of PostgreSQL 15.
const MOVERS: u32 = 128;

/// Members of this role (`rowhouse_tenantdb` makes it) are logins of restored copies, which only a password opens.
const PASSWORD: &str = "local all +rh_password scram-sha-256\n";

/// The two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub hba: String,
    pub ident: String,
}

/// Why the wanted OS users cannot be let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    #[error(
        "OS users {0:?} cannot be let in by PostgreSQL 15; from 16 on they can: apt-get install postgresql-16"
    )]
    NeedsSixteen(Vec<String>),
    #[error("{0:?} cannot be the name of an OS user")]
    BadName(String),
}

/// `own`: the accounts of Rowhouse and of the server. `others`: further OS users who may be any role.
pub(super) fn admission(major: u32, own: &[String], others: &[String]) -> Result<Admission, AdmissionError> {
    if major < ANY_ROLE_SINCE {
        if !others.is_empty() {
            return Err(AdmissionError::NeedsSixteen(others.to_vec()));
        }
        let hba = format!(
            "# Only the socket, whose directory lets in the server's account and root alone.\n{PASSWORD}local all all trust\nlocal replication all trust\n"
        );
        return Ok(Admission { hba, ident: String::new() });
    }
    let hba = format!(
        "# Only the socket, and only the OS users of the map.\n{PASSWORD}local all all peer map=rowhouse\nlocal replication all peer map=rowhouse\n"
    );
    let mut ident = String::from("# map, OS user, role\n");
    for name in own.iter().chain(others) {
        if !is_plain(name) {
            return Err(AdmissionError::BadName(name.clone()));
        }
        writeln!(ident, "rowhouse \"{name}\" all").expect("writing to a String cannot fail");
    }
    Ok(Admission { hba, ident })
}

/// For a server that is kept apart: `own`, who runs Rowhouse, may be anybody; whoever else reaches the socket, anybody but an administrator.
pub(super) fn apart(own: &str) -> Result<Admission, AdmissionError> {
    if !is_plain(own) {
        return Err(AdmissionError::BadName(own.to_owned()));
    }
    let administrators = ADMINISTRATORS.join(",");
    let hba = format!(
        "# Only the socket, whose directory lets in the server's group and root alone.\n\
         local all {administrators} peer map=rowhouse\n\
         local replication all peer map=rowhouse\n\
         {PASSWORD}local all all trust\n"
    );
    let mut ident = String::from("# map, OS user, role\n");
    let movers = (1..=MOVERS).map(|number| format!("rh_mover_{number}"));
    let named = ADMINISTRATORS.into_iter().filter(|role| !role.starts_with('+')).map(str::to_owned);
    for role in named.chain(movers) {
        writeln!(ident, "rowhouse \"{own}\" {role}").expect("writing to a String cannot fail");
    }
    Ok(Admission { hba, ident })
}

/// A name that means nothing but itself in `pg_ident.conf`: no quote, no space, no leading `/`, `+` or `@`.
fn is_plain(name: &str) -> bool {
    let first_is_plain = name.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
    first_is_plain && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.$".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn maps_exactly_the_named_users() {
        let made = admission(16, &names(&["root", "postgres"]), &names(&["web"])).expect("plain names");
        assert_eq!(
            made.ident,
            "# map, OS user, role\nrowhouse \"root\" all\nrowhouse \"postgres\" all\nrowhouse \"web\" all\n"
        );
        assert!(!made.hba.contains("trust"));
    }

    #[test]
    fn fifteen_lets_in_nobody_beside_the_two_accounts() {
        let refused = admission(15, &names(&["root"]), &names(&["web"]));
        assert_eq!(refused, Err(AdmissionError::NeedsSixteen(names(&["web"]))));
        assert!(admission(15, &names(&["root", "postgres"]), &[]).is_ok());
    }

    #[test]
    fn apart_an_administrator_is_who_runs_rowhouse() {
        let made = apart("root").expect("a plain name");
        let first = made.hba.lines().find(|line| line.starts_with("local")).expect("lines");
        assert_eq!(
            first,
            "local all rowhouse_super,rh_migrator,+rh_mover,rowhouse_service peer map=rowhouse"
        );
        assert!(
            made.ident.lines().skip(1).all(|line| line.starts_with("rowhouse \"root\" ")),
            "{}",
            made.ident
        );
        assert!(apart("a b").is_err());
    }

    #[test]
    fn refuses_names_that_mean_more_than_themselves() {
        for name in ["/^.*$", "a\"b", "a b", "", "+group", "@file", "a\nb"] {
            assert_eq!(
                admission(17, &names(&[name]), &[]),
                Err(AdmissionError::BadName(name.to_owned())),
                "{name:?}"
            );
        }
    }
}
