//! What is remembered, what is forgotten, and what a file must be to be believed.

use csync::OwnedAnnotation;
use cyrus_types::{ModSeq, SyncCrcs, UniqueId};

use super::*;

fn state(name: &str, highestmodseq: u64) -> ReplicaMailbox {
    ReplicaMailbox {
        uniqueid: UniqueId::new(format!("id-{name}")),
        name: MailboxName::new(name),
        highestmodseq: ModSeq(highestmodseq),
        crcs: SyncCrcs { basic: 0, annot: 7 },
        partition: "default".into(),
        acl: "anna\tlrs\t".into(),
        options: "P".into(),
        quotaroot: Some("user.anna".into()),
        annotations: vec![OwnedAnnotation {
            entry: "/comment".into(),
            userid: String::new(),
            modseq: ModSeq(4),
            value: b"a\r\n\0b".to_vec(),
        }],
        ..ReplicaMailbox::default()
    }
}

fn names(all: &[&str]) -> BTreeSet<MailboxName> {
    all.iter().copied().map(MailboxName::new).collect()
}

#[test]
fn what_is_remembered_comes_back_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    std::fs::write(&path, "the C client's").unwrap();
    let open = |replica: &str| Cache::open(&path, replica, NameRules::default()).unwrap();
    actix_rt::System::new().block_on(async {
        let cache = open("one");
        let anna = state("user.anna", 5);
        cache.remember(vec![state("user.anna", 4), state("user.annabel", 9)]).await;
        cache.remember(vec![anna.clone(), state("DELETED.user.anna.x.5F", 6)]).await;
        drop(cache);
        let cache = open("one");
        let all = names(&["user.anna", "user.annabel", "DELETED.user.anna.x.5F", "user.bert"]);
        let (known, unknown) = cache.known(all.clone()).await;
        assert_eq!((known.len(), unknown), (3, names(&["user.bert"])));
        assert!(known.contains(&anna));
        cache.forget_user(&"anna".into()).await;
        let (known, _) = cache.known(all.clone()).await;
        assert_eq!(known, [state("user.annabel", 9)]);
        cache.forget(vec![MailboxName::new("user.annabel")]).await;
        assert_eq!(cache.known(all.clone()).await.0, []);
        cache.remember(vec![anna]).await;
        drop(cache);
        // The state of one replica says nothing about another.
        assert_eq!(open("two").known(all).await.0, []);
    });
    assert_eq!(std::fs::read(&path).unwrap(), b"the C client's");
}

#[test]
fn a_new_replica_is_told_from_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    actix_rt::System::new().block_on(async {
        let cache = Cache::open(&dir.path().join("cache"), "one", NameRules::default()).unwrap();
        assert_eq!(
            [cache.belief(1), cache.belief(1), cache.belief(2)],
            [Belief::Unknown, Belief::Asking, Belief::Unknown]
        );
        assert!(cache.sample().await.is_empty());
        cache.proven(1, true);
        cache.proven(2, false);
        assert_eq!([cache.belief(1), cache.belief(2)], [Belief::Proven, Belief::Unknown]);
        let all: Vec<_> = (0..40).map(|nr| state(&format!("user.u{nr:02}"), 5)).collect();
        cache.remember(all.clone()).await;
        cache.remember(vec![state("user.u07", 6)]).await;
        let sample = cache.sample().await;
        assert!(sample.contains(&state("user.u07", 6)) && sample.len() <= SAMPLE, "{sample:?}");
        assert_eq!(first_missing(&sample, &[]), Some(&sample[0].name));
        assert_eq!(first_missing(&sample, &sample), None);
        let older = [state("user.u07", 5)];
        assert_eq!(
            first_missing(&[state("user.u07", 6)], &older),
            Some(&MailboxName::new("user.u07"))
        );
        assert_eq!(first_missing(&older, &[state("user.u07", 6)]), None);
        cache.forget_all().await;
        assert!(cache.sample().await.is_empty());
    });
}

/// One of another version of the format, as after an update of this program or a step back.
#[test]
fn a_file_of_another_format_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let open = || Cache::open(&path, "one", NameRules::default()).unwrap();
    actix_rt::System::new().block_on(async {
        let cache = open();
        cache.remember(vec![state("user.anna", 5)]).await;
        drop(cache);
        assert_eq!(open().known(names(&["user.anna"])).await.0.len(), 1);
        let file = dir.path().join("cache.redb");
        let mut bytes = std::fs::read(&file).unwrap();
        // The first byte of both commit slots is the format's version.
        for slot in [64, 192] {
            bytes[slot] = 99;
        }
        std::fs::write(&file, bytes).unwrap();
        let cache = open();
        assert_eq!(cache.known(names(&["user.anna"])).await.0, []);
        cache.remember(vec![state("user.anna", 6)]).await;
        assert_eq!(cache.known(names(&["user.anna"])).await.0.len(), 1);
    });
}

#[test]
fn what_a_killed_program_left_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, left) = (dir.path().join("cache"), dir.path().join("left"));
    let open = |path: &Path| Cache::open(path, "one", NameRules::default()).unwrap();
    actix_rt::System::new().block_on(async {
        let cache = open(&path);
        cache.remember(vec![state("user.anna", 5)]).await;
        // As it is now on the disk.
        std::fs::copy(dir.path().join("cache.redb"), dir.path().join("left.redb")).unwrap();
        drop(cache);
        let known = names(&["user.anna"]);
        assert_eq!(open(&path).known(known.clone()).await.0.len(), 1);
        assert_eq!(open(&left).known(known.clone()).await.0, []);
        assert_eq!(open(&path).known(known).await.0.len(), 1);
    });
}

#[test]
fn a_file_that_another_program_uses_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let open = || Cache::open(&path, "one", NameRules::default());
    actix_rt::System::new().block_on(async {
        let first = open().unwrap();
        first.remember(vec![state("user.anna", 5)]).await;
        assert!(open().is_none());
        assert_eq!(first.known(names(&["user.anna"])).await.0.len(), 1);
        drop(first);
        assert_eq!(open().unwrap().known(names(&["user.anna"])).await.0.len(), 1);
    });
}

#[test]
fn a_file_that_is_none_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cache.redb"), "nonsense ".repeat(2000)).unwrap();
    let path = dir.path().join("cache");
    assert!(Cache::open(&path, "one", NameRules::default()).is_some());
    let nowhere = dir.path().join("no/such/folder");
    assert!(Cache::open(&nowhere, "one", NameRules::default()).is_none());
}
