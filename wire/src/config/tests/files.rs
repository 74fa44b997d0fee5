//! The last good file: what was written is read, and of a damaged one nothing is.

use super::last_good::{encode, restore};
use super::*;

fn pod(role: Role, resources: &[Resource]) -> Held {
    let mut pod = Held::new(role);
    let resources = resources.iter().map(Resource::proto).collect();
    let answer = pod.take(v1::Update { nonce: 1, resources, removed: vec![], complete: true });
    assert!(answer.refused.is_empty());
    pod
}

#[test]
fn what_was_written_is_read_and_secrets_are_in_a_file_of_their_own() {
    let before = pod(Role::Ingest, &[ingest("a", 1), ingest("b", 2), signing("a", "hunter2")]);
    let snapshots = encode(&before, &[ResourceType::Ingest]);
    assert!(!String::from_utf8_lossy(&snapshots).contains("aHVudGVyMg"));
    let mut after = Held::new(Role::Ingest);
    restore(&mut after, &snapshots, &[ResourceType::Ingest]).unwrap();
    assert_eq!(held(&after), digests(&[ingest("a", 1), ingest("b", 2)]));
    assert!(!after.is_complete(), "whether that is all, only an operator knows");
    let secrets = encode(&before, &[ResourceType::SigningSecrets]);
    assert!(restore(&mut after, &secrets, &[ResourceType::Ingest]).is_err(), "a file has its own types");
    restore(&mut after, &secrets, &[ResourceType::SigningSecrets]).unwrap();
    assert_eq!(held(&after), held(&before));
    assert!(restore(&mut Held::new(Role::Gateway), &snapshots, &[ResourceType::Ingest]).is_err());
}

#[test]
fn a_file_that_is_cut_or_has_a_wrong_bit_gives_nothing() {
    let types = [ResourceType::Ingest, ResourceType::SigningSecrets];
    let before = pod(Role::Ingest, &[ingest("a", 1), signing("a", "hunter2")]);
    let file = encode(&before, &types);
    let untouched = |damaged: &[u8], how: &str| {
        let mut after = Held::new(Role::Ingest);
        let error = restore(&mut after, damaged, &types).expect_err(how).to_string();
        assert!(!error.contains("aHVudGVyMg") && !error.contains("hunter2"), "{error}");
        assert_eq!(after.taken().count(), 0, "{how}");
    };
    for end in 0..file.len() {
        untouched(&file[..end], &format!("cut at {end}"));
    }
    let mut damaged = file.to_vec();
    for at in 0..file.len() {
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            untouched(&damaged, &format!("bit {bit} of byte {at}"));
            damaged[at] ^= 1 << bit;
        }
    }
    let mut after = Held::new(Role::Ingest);
    restore(&mut after, &damaged, &types).unwrap();
    assert_eq!(held(&after), held(&before));
}
