use std::path::PathBuf;

use rowhouse_domain::entropy::Entropy;

use super::*;

fn entropy() -> Entropy {
    Entropy::new(|out| getrandom::fill(out).expect("the system has randomness"))
}

fn names(tenant: u128, id: u128) -> Names {
    Names { tenant: TenantId::from_u128(tenant), id: Uuid::from_u128(id), kind: "snapshot" }
}

fn path() -> PathBuf {
    std::env::temp_dir().join(format!("rowhouse-sealed-{}", Uuid::from_bytes(entropy().bytes())))
}

/// Three chunks of one section, one of another, and the last.
async fn written(names: Names) -> (PathBuf, Written, Vec<u8>) {
    let path = path();
    let rows: Vec<u8> = (0..2 * CHUNK + 10).map(|at| ((at * at) >> 7) as u8).collect();
    let mut writer = Writer::create(&path, &[1; 32], names, &entropy()).await.expect("a file");
    assert!(!path.exists(), "it is not seen before it is whole");
    writer.section("rows/a").await.expect("room");
    for piece in rows.chunks(100_000) {
        writer.write(piece).await.expect("room");
    }
    writer.section("rows/b").await.expect("room");
    writer.write(b"b").await.expect("room");
    let written = writer.finish("manifest", b"the end").await.expect("room");
    (path, written, rows)
}

async fn read(path: &std::path::Path, key: u8, names: Names) -> Result<Vec<(String, Vec<u8>)>, SealedError> {
    let mut reader = Reader::open(path, &[key; 32], names).await?;
    let mut sections: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(chunk) = reader.next().await? {
        match sections.last_mut() {
            Some((name, bytes)) if *name == chunk.section => bytes.extend(chunk.bytes),
            _ => sections.push((chunk.section, chunk.bytes)),
        }
    }
    Ok(sections)
}

/// Where chunks begin and end in the file.
fn frames(file: &[u8], header: usize) -> Vec<std::ops::Range<usize>> {
    let mut frames = Vec::new();
    let mut at = header;
    while at < file.len() {
        let length = u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize;
        let section = u16::from_be_bytes(file[at + 5..at + 7].try_into().expect("two bytes")) as usize;
        let end = at + 7 + section + NONCE + length;
        frames.push(at..end);
        at = end;
    }
    frames
}

#[tokio::test]
async fn what_was_written_is_read_and_nothing_else_is() {
    let (path, written, rows) = written(names(1, 7)).await;
    let sections = read(&path, 1, names(1, 7)).await.expect("the same");
    assert_eq!(sections[0], ("rows/a".to_owned(), rows));
    assert_eq!(
        sections[1..],
        [("rows/b".to_owned(), b"b".to_vec()), ("manifest".to_owned(), b"the end".to_vec())]
    );
    let file = std::fs::read(&path).expect("the file");
    assert_eq!(written.bytes, file.len() as u64);
    assert!(matches!(read(&path, 1, names(2, 7)).await, Err(SealedError::Other)));
    assert!(matches!(read(&path, 1, names(1, 8)).await, Err(SealedError::Other)));
    assert!(matches!(read(&path, 2, names(1, 7)).await, Err(SealedError::Altered { number: 0 })));
    let header = names(1, 7).header().len();
    let frames = frames(&file, header);
    assert_eq!(frames.len(), 5);
    let with = |order: &[usize]| {
        let mut bytes = file[..header].to_vec();
        for index in order {
            bytes.extend_from_slice(&file[frames[*index].clone()]);
        }
        bytes
    };
    for (order, problem) in [
        (&[0, 2, 3, 4][..], "chunk 1 was altered"),
        (&[1, 0, 2, 3, 4], "chunk 0 was altered"),
        (&[0, 1, 2, 3], "chunk 4 is missing"),
        (&[0, 1, 2, 4], "chunk 3 was altered"),
        (&[0, 1, 2, 3, 4, 4], "follows the last"),
    ] {
        std::fs::write(&path, with(order)).expect("room");
        let error = read(&path, 1, names(1, 7)).await.expect_err("it was changed").to_string();
        assert!(error.contains(problem), "{order:?}: {error}");
    }
    std::fs::remove_file(&path).expect("the file");
}

#[tokio::test]
async fn every_altered_byte_is_found() {
    let path = path();
    let mut writer = Writer::create(&path, &[1; 32], names(1, 7), &entropy()).await.expect("a file");
    writer.section("a").await.expect("room");
    writer.write(b"rows").await.expect("room");
    writer.finish("manifest", b"{}").await.expect("room");
    let file = std::fs::read(&path).expect("the file");
    for at in 0..file.len() {
        let mut altered = file.clone();
        altered[at] ^= 1;
        std::fs::write(&path, &altered).expect("room");
        assert!(read(&path, 1, names(1, 7)).await.is_err(), "altered at {at}");
        std::fs::write(&path, &file[..at]).expect("room");
        assert!(read(&path, 1, names(1, 7)).await.is_err(), "cut at {at}");
    }
    std::fs::remove_file(&path).expect("the file");
}

#[tokio::test]
async fn a_chunk_of_another_tenants_file_does_not_open_even_under_the_same_key() {
    let (own, ..) = written(names(1, 7)).await;
    let (other, ..) = written(names(2, 7)).await;
    let header = names(1, 7).header().len();
    let (mut bytes, foreign) = (std::fs::read(&own).expect("a file"), std::fs::read(&other).expect("a file"));
    let (at, from) = (frames(&bytes, header)[3].clone(), frames(&foreign, header)[3].clone());
    bytes.splice(at, foreign[from].to_vec());
    std::fs::write(&own, bytes).expect("room");
    let error = read(&own, 1, names(1, 7)).await.expect_err("a foreign chunk");
    assert!(matches!(error, SealedError::Altered { number: 3 }), "{error}");
    std::fs::remove_file(&own).expect("the file");
    std::fs::remove_file(&other).expect("the file");
}
