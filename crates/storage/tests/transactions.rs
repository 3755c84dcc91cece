//! The pool, transactions and migrations on both engines.

use std::{sync::Arc, time::Duration};

use lictor_clock::Timestamp;
use lictor_storage::{
    Database, DatabaseOptions, Dialect, Migration, StorageError, retry, sqlite_url,
    sqlx::{self, Row},
    testing::{TestDatabase, for_each_engine},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

static MIGRATIONS: &[Migration] = &[Migration {
    name: "0001_account",
    postgres: "CREATE TABLE account (id TEXT PRIMARY KEY, amount BIGINT NOT NULL, note BYTEA, at BIGINT); \
               INSERT INTO account (id, amount) VALUES ('a', 0), ('b', 0)",
    sqlite: "CREATE TABLE account (id TEXT PRIMARY KEY, amount BIGINT NOT NULL, note BLOB, at BIGINT); \
             INSERT INTO account (id, amount) VALUES ('a', 0), ('b', 0)",
}];

async fn amount(db: &Database, id: &str) -> i64 {
    sqlx::query("SELECT amount FROM account WHERE id = $1")
        .bind(id)
        .fetch_one(db.pool())
        .await
        .and_then(|row| row.try_get(0))
        .expect("the account is there")
}

#[tokio::test]
async fn uncommitted_change_is_undone() {
    for_each_engine(MIGRATIONS, async |db| {
        let mut tx = db.begin().await.expect("begin");
        sqlx::query("UPDATE account SET amount = 7").execute(tx.conn()).await.expect("update");
        drop(tx);
        // The rollback of a dropped transaction is waited for by the next writer.
        let tx = db.begin().await.expect("begin");
        tx.rollback().await.expect("rollback");
        assert_eq!(amount(&db, "a").await, 0);
    })
    .await;
}

#[tokio::test]
async fn all_column_types_come_back_as_written() {
    for_each_engine(MIGRATIONS, async |db| {
        let mut tx = db.begin().await.expect("begin");
        for (id, note, at) in [("x", Some(vec![0_u8, 255, 39]), None), ("y", None, Some(i64::MIN))] {
            sqlx::query("INSERT INTO account (id, amount, note, at) VALUES ($1, $2, $3, $4)")
                .bind(id)
                .bind(i64::MAX)
                .bind(note)
                .bind(at)
                .execute(tx.conn())
                .await
                .expect("insert");
        }
        tx.commit().await.expect("commit");
        let rows = sqlx::query("SELECT note, at, amount FROM account WHERE id IN ('x', 'y') ORDER BY id")
            .fetch_all(db.pool())
            .await
            .expect("select");
        let first: (Option<Vec<u8>>, Option<i64>) = (rows[0].get(0), rows[0].get(1));
        let second: (Option<Vec<u8>>, Option<i64>) = (rows[1].get(0), rows[1].get(1));
        assert_eq!(first, (Some(vec![0, 255, 39]), None));
        assert_eq!(second, (None, Some(i64::MIN)));
        assert_eq!(rows[0].get::<i64, _>(2), i64::MAX);
    })
    .await;
}

#[tokio::test]
async fn concurrent_increments_are_all_counted() {
    for_each_engine(MIGRATIONS, async |db| {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move {
                    for _ in 0..10 {
                        retry(|| async {
                            let mut tx = db.begin().await?;
                            let select = tx.dialect().lock_rows("SELECT amount FROM account WHERE id = 'a'");
                            let amount: i64 = sqlx::query(select).fetch_one(tx.conn()).await?.try_get(0)?;
                            sqlx::query("UPDATE account SET amount = $1 WHERE id = 'a'")
                                .bind(amount + 1)
                                .execute(tx.conn())
                                .await?;
                            tx.commit().await
                        })
                        .await
                        .expect("increment");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(amount(&db, "a").await, 80);
    })
    .await;
}

#[tokio::test]
async fn deadlocked_transaction_runs_again() {
    for_each_engine(MIGRATIONS, async |db| {
        let meet = Arc::new(tokio::sync::Barrier::new(2));
        let transfer = |first: &'static str, second: &'static str| {
            let (db, meet) = (db.clone(), Arc::clone(&meet));
            tokio::spawn(async move {
                let mut tries = 0;
                retry(|| {
                    tries += 1;
                    let (db, meet) = (db.clone(), Arc::clone(&meet));
                    async move {
                        let mut tx = db.begin().await?;
                        for (place, id) in [first, second].into_iter().enumerate() {
                            sqlx::query("UPDATE account SET amount = amount + 1 WHERE id = $1")
                                .bind(id)
                                .execute(tx.conn())
                                .await?;
                            // Both hold their first row before either asks for its second; SQLite has one writer.
                            if place == 0 && tries == 1 && tx.dialect() == Dialect::Postgres {
                                meet.wait().await;
                            }
                        }
                        tx.commit().await
                    }
                })
                .await
            })
        };
        let (one, two) = tokio::join!(transfer("a", "b"), transfer("b", "a"));
        one.expect("no panic").expect("first transfer");
        two.expect("no panic").expect("second transfer");
        assert_eq!((amount(&db, "a").await, amount(&db, "b").await), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn read_transaction_sees_one_moment_and_cannot_write() {
    for_each_engine(MIGRATIONS, async |db| {
        let mut read = db.begin_read().await.expect("begin");
        let sum = "SELECT CAST(SUM(amount) AS BIGINT) FROM account";
        let before: i64 = sqlx::query(sum).fetch_one(read.conn()).await.expect("sum").get(0);
        let mut tx = db.begin().await.expect("begin");
        sqlx::query("UPDATE account SET amount = 5").execute(tx.conn()).await.expect("update");
        tx.commit().await.expect("commit");
        let after: i64 = sqlx::query(sum).fetch_one(read.conn()).await.expect("sum").get(0);
        assert_eq!((before, after), (0, 0));
        assert_eq!(amount(&db, "a").await, 5);
        if db.dialect() == Dialect::Postgres {
            assert!(sqlx::query("UPDATE account SET amount = 6").execute(read.conn()).await.is_err());
        }
    })
    .await;
}

#[tokio::test]
async fn second_row_with_the_same_key_is_told_as_unique() {
    for_each_engine(MIGRATIONS, async |db| {
        let mut tx = db.begin().await.expect("begin");
        let error: StorageError = sqlx::query("INSERT INTO account (id, amount) VALUES ('a', 1)")
            .execute(tx.conn())
            .await
            .expect_err("refused")
            .into();
        assert!(error.is_unique_violation() && !error.is_transient(), "{error:?}");
        assert!(error.constraint().is_some_and(|name| name.contains("account")), "{:?}", error.constraint());
    })
    .await;
}

#[tokio::test]
async fn migrating_twice_and_at_once_applies_each_step_once() {
    for_each_engine(MIGRATIONS, async |db| {
        let again: Vec<_> = (0..4)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move { db.migrate(MIGRATIONS, NOW).await })
            })
            .collect();
        for outcome in again {
            outcome.await.expect("no panic").expect("migrate");
        }
        let rows =
            sqlx::query("SELECT name FROM schema_migration ORDER BY name").fetch_all(db.pool()).await.expect("select");
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(names, ["0001_account", "storage_0001_tools", "storage_0002_published", "storage_0003_kept"]);
    })
    .await;
}

#[tokio::test]
async fn edited_or_failing_or_unknown_migration_stops_the_start() {
    for_each_engine(MIGRATIONS, async |db| {
        let edited = [Migration { postgres: "SELECT 1", sqlite: "SELECT 1", ..MIGRATIONS[0] }];
        let error = db.migrate(&edited, NOW).await.expect_err("refused").to_string();
        assert!(error.contains("0001_account was changed"), "{error}");

        let failing = Migration {
            name: "0002_half",
            postgres: "CREATE TABLE half (id TEXT); CREATE TABLE account (id TEXT)",
            sqlite: "CREATE TABLE half (id TEXT); CREATE TABLE account (id TEXT)",
        };
        let error = db.migrate(&[MIGRATIONS[0], failing], NOW).await.expect_err("refused").to_string();
        assert!(error.contains("0002_half failed"), "{error}");
        assert!(sqlx::query("SELECT * FROM half").fetch_all(db.pool()).await.is_err(), "nothing of it stays");

        let error = db.migrate(&[], NOW).await.expect_err("refused").to_string();
        assert!(error.contains("newer than this program"), "{error}");
        db.migrate(MIGRATIONS, NOW).await.expect("the right list still works");
    })
    .await;
}

#[tokio::test]
async fn sqlite_is_durable_and_checks_foreign_keys() {
    let test = TestDatabase::sqlite(&[]).await;
    for (pragma, value) in [("PRAGMA synchronous", 2_i64), ("PRAGMA foreign_keys", 1)] {
        let row = sqlx::query(pragma).fetch_one(test.db.pool()).await.expect("pragma");
        assert_eq!(row.get::<i64, _>(0), value, "{pragma}");
    }
    let mode = sqlx::query("PRAGMA journal_mode").fetch_one(test.db.pool()).await.expect("pragma");
    assert_eq!(mode.get::<String, _>(0), "wal");
    test.remove().await;
}

#[tokio::test]
async fn schemas_on_one_server_do_not_see_each_other() {
    let (Some(one), Some(two)) = (TestDatabase::postgres(MIGRATIONS).await, TestDatabase::postgres(MIGRATIONS).await)
    else {
        eprintln!("SKIPPED: LICTOR_TEST_POSTGRES_URL is not set");
        return;
    };
    let mut tx = one.db.begin().await.expect("begin");
    sqlx::query("UPDATE account SET amount = 9").execute(tx.conn()).await.expect("update");
    tx.commit().await.expect("commit");
    assert_eq!(amount(&two.db, "a").await, 0);
    one.remove().await;
    two.remove().await;
}

#[tokio::test]
async fn database_that_is_down_is_told_in_one_sentence_without_its_password() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let options = DatabaseOptions {
        start_deadline: Duration::from_millis(500),
        ..DatabaseOptions::for_schema("license_central")
    };
    let url = format!("postgres://lictor:pass%40word@127.0.0.1:{port}/lictor");
    let error = Database::connect(&url, &options).await.expect_err("nobody answers");
    assert!(error.is_unavailable());
    let text = error.to_string();
    assert!(text.starts_with(&format!("the PostgreSQL server at 127.0.0.1:{port}/lictor did not answer")), "{text}");
    assert!(text.contains("; next: ") && !text.contains("word") && !text.contains('\n'), "{text}");
}

#[tokio::test]
async fn server_that_cannot_be_trusted_over_tls_is_told_apart_from_one_that_is_down() {
    for (answer, said) in [(&b"SNo TLS begins like this."[..], "over TLS"), (b"N", "TLS")] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            loop {
                let (mut caller, _) = listener.accept().await.expect("a caller");
                let mut asked = [0; 8];
                caller.read_exact(&mut asked).await.expect("the question for TLS");
                let _ = caller.write_all(answer).await;
                let _ = caller.read_to_end(&mut Vec::new()).await;
            }
        });
        let url = format!("postgres://lictor:secret@127.0.0.1:{port}/lictor?sslmode=require");
        let began = std::time::Instant::now();
        let options = DatabaseOptions::for_schema("license_central");
        let error = Database::connect(&url, &options).await.expect_err("no TLS");
        let text = error.to_string();
        assert!(!error.is_unavailable() && text.contains(said) && text.contains("; next: "), "{text}");
        assert!(
            !text.contains("secret") && began.elapsed() < options.start_deadline,
            "waiting does not cure it: {text}"
        );
        server.abort();
    }
}

#[tokio::test]
async fn unusable_urls_and_files_are_refused_at_once() {
    let options = DatabaseOptions::for_schema("x");
    let folder = tempfile::tempdir().expect("a folder");
    let damaged = folder.path().join("damaged.db");
    std::fs::write(&damaged, [b'x'; 8192]).expect("write");
    for url in [
        "".to_owned(),
        "mysql://a@b/c".to_owned(),
        "sqlite::memory:".to_owned(),
        "sqlite://relative.db".to_owned(),
        "sqlite:///a.db?mode=ro".to_owned(),
        sqlite_url(&folder.path().join("no/such/folder/a.db")),
        sqlite_url(&damaged),
    ] {
        let begun = std::time::Instant::now();
        let error = Database::connect(&url, &options).await.expect_err("refused");
        assert!(matches!(error, StorageError::Settings(_)), "{url}: {error:?}");
        assert!(error.to_string().contains("next: "), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{url} is not waited for");
    }
    for schema in ["", "Upper", "a;drop", "1a", "a\"b"] {
        let url = sqlite_url(&folder.path().join("good.db"));
        assert!(Database::connect(&url, &DatabaseOptions::for_schema(schema)).await.is_err(), "{schema:?}");
    }
}

#[tokio::test]
async fn odd_characters_in_a_path_name_exactly_that_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a b%20?c#ü.db");
    let db = Database::connect(&sqlite_url(&path), &DatabaseOptions::for_schema("x")).await.expect("connect");
    db.migrate(&[], NOW).await.expect("migrate");
    db.close().await;
    assert!(path.exists());
}
