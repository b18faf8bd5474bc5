//! What is taken away from somebody while they come in.

use std::time::Duration;

use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_of};

const MAIL: &str = "ana@acme.example";
const REFUSED: (u16, &str) = (403, "identity.entry_refused");
const PATIENCE: Duration = Duration::from_secs(60);

/// Until somebody waits for a lock.
pub async fn until_somebody_waits(town: &Town) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let begun = async {
        while town.platform.ask(waits).await == "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("somebody waits");
}

/// The right password is shown in the moment in which `change` is about to be committed.
async fn shown_while(change: &str) -> (Town, (u16, serde_json::Value)) {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let (mut other, connection) =
        town.platform.config.connect(tokio_postgres::NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let transaction = other.transaction().await.expect("a transaction");
    assert_eq!(transaction.execute(change, &[]).await.expect("nobody has it"), 1);
    let committed = async {
        until_somebody_waits(&town).await;
        transaction.commit().await.expect("it commits");
    };
    let (answer, ()) = tokio::join!(town.try_password(MAIL, PASSWORD), committed);
    drop(other);
    driver.await.expect("the connection's task").expect("the connection ends well");
    (town, answer)
}

async fn refuse(change: &str, refusal: (u16, &str)) {
    let (town, answer) = shown_while(change).await;
    assert_eq!(code_of(&answer), refusal, "{change}: {}", answer.1);
    assert_eq!(town.platform.ask("SELECT count(*) FROM identity.sessions").await, "0", "{change}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_suspended_in_that_moment_does_not_come_in() {
    refuse(
        "UPDATE identity.memberships SET status = 'suspended' WHERE user_id = \
         (SELECT user_id FROM identity.users WHERE email = 'ana@acme.example')",
        REFUSED,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_disabled_in_that_moment_does_not_come_in() {
    refuse("UPDATE identity.users SET status = 'disabled' WHERE email = 'ana@acme.example'", REFUSED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_replaced_in_that_moment_lets_nobody_in() {
    refuse(
        "UPDATE identity.passwords SET digest = sha256('another'::bytea) WHERE user_id = \
         (SELECT user_id FROM identity.users WHERE email = 'ana@acme.example')",
        (401, "identity.credentials_wrong"),
    )
    .await;
}
