use super::{Digest, Entry, KeyFile, MAX_KEY_BYTES};
use crate::clock::UnixTime;
use crate::identity::{Attribute, Identity};
use crate::stamp::Stamp;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A key file that goes away with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sidegate-keys-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("api-keys.toml")
    }

    fn write(&self, entries: &[(&str, &str)]) {
        std::fs::write(self.path(), text(entries)).unwrap();
    }

    fn open(&self) -> Arc<KeyFile> {
        Arc::new(KeyFile::open("keys", self.path()).unwrap_or_else(|error| panic!("{error}")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn hex(key: &str) -> String {
    crate::hex::encode(&Digest::of(key).unwrap().0)
}

/// Entries of these keys, whose ids are the keys, with further lines.
fn text(entries: &[(&str, &str)]) -> String {
    let entry = |(key, lines): &(&str, &str)| {
        format!("[[keys]]\nid = \"{key}\"\nsha256 = \"{}\"\n{lines}\n", hex(key))
    };
    format!("#\n{}", entries.iter().map(entry).collect::<String>())
}

#[test]
fn a_key_is_found_by_its_hash() {
    let folder = Folder::new();
    folder.write(&[("sb_1", "expires = 2027-01-31T12:00:00Z"), ("sb_2", "subject = 7")]);
    let file = folder.open();
    let entry = file.find("sb_1").unwrap();
    assert_eq!((&*entry.id, entry.expires), ("sb_1", Some(UnixTime::from_seconds(1_801_396_800))));
    for (name, value) in [("authenticator", "keys"), ("auth_method", "api_key"), ("subject", "sb_1")] {
        assert_eq!(entry.identity.attribute(name), Some(&Attribute::Text(value.into())));
    }
    assert_eq!(file.find("sb_2").unwrap().identity.attribute("subject"), Some(&Attribute::Integer(7)));
    for other in ["sb_", "sb_11", "SB_1", "", &hex("sb_1")] {
        assert!(file.find(other).is_none(), "{other}");
    }
    assert!(!format!("{file:?}").contains("sb_1"));
}

#[test]
fn an_endless_key_is_nobodys() {
    let folder = Folder::new();
    let (longest, longer) = ("x".repeat(MAX_KEY_BYTES), "x".repeat(MAX_KEY_BYTES + 1));
    folder.write(&[(&longest, ""), (&longer, "")]);
    let file = folder.open();
    assert!(file.find(&longest).is_some() && file.find(&longer).is_none());
}

#[test]
fn digests_that_begin_alike_are_not_the_same() {
    let (mut one, mut other) = (Digest([7; 32]), Digest([7; 32]));
    assert!(one == other);
    other.0[31] = 8;
    assert!(one != other);
    one.0[31] = 8;
    assert!(one == other);
}

#[test]
fn addresses_are_compared_as_what_they_are() {
    let admits = |networks: &[&str], client: Option<&str>| {
        let entry = Entry {
            digest: Digest([0; 32]),
            identity: Identity::default(),
            id: "a".into(),
            expires: None,
            allowed_ips: networks.iter().map(|network| network.parse().unwrap()).collect(),
        };
        entry.admits(client.map(|client| client.parse::<IpAddr>().unwrap()))
    };
    let networks = ["10.0.0.0/8", "2001:db8::/32"];
    for good in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
        assert!(admits(&networks, Some(good)), "{good}");
    }
    for bad in ["11.0.0.1", "::ffff:11.0.0.1", "2001:db9::1", "::10.1.2.3"] {
        assert!(!admits(&networks, Some(bad)), "{bad}");
    }
    assert!(!admits(&networks, None), "who comes by a unix socket has no address");
    assert!(admits(&[], None) && admits(&[], Some("192.0.2.1")));
}

#[test]
fn only_what_changed_is_another_entry() {
    let folder = Folder::new();
    folder.write(&[("same", "roles = [\"a\"]"), ("changed", "roles = [\"a\"]"), ("gone", "")]);
    let file = folder.open();
    let (same, changed) = (file.find("same").unwrap(), file.find("changed").unwrap());
    let rows = |entries: &[(&str, &str)]| crate::config::key_file::parse("x", &text(entries)).unwrap();
    let count =
        file.take_over(rows(&[("new", ""), ("changed", "roles = [\"b\"]"), ("same", "roles = \"a\"")]));
    assert_eq!(count, 3);
    assert!(Arc::ptr_eq(&same, &file.find("same").unwrap()));
    assert!(!Arc::ptr_eq(&changed, &file.find("changed").unwrap()));
    assert!(file.find("gone").is_none() && file.find("new").is_some());
}

/// Lets the follower look until `holds`.
async fn looked(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..100 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{what}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing() {
    let folder = Folder::new();
    folder.write(&[("a", "")]);
    let file = folder.open();
    // Changed before anybody follows: noticed all the same.
    folder.write(&[("a", ""), ("b", "")]);
    tokio::spawn(Arc::clone(&file).follow());
    looked("b is there", || file.find("b").is_some()).await;
    let counts = || (file.reloads().successes(), file.reloads().errors());
    assert_eq!(counts(), (1, 0));
    for (bad, error) in [("[[keys]]\nid = ", 1), ("", 2)] {
        std::fs::write(folder.path(), bad).unwrap();
        looked("the error is counted", || counts() == (1, error)).await;
        assert!(file.find("a").is_some() && file.find("b").is_some());
    }
    std::fs::remove_file(folder.path()).unwrap();
    looked("the loss is counted", || counts() == (1, 3)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(counts(), (1, 3), "each is counted once");
    assert!(file.find("a").is_some());
    folder.write(&[("b", "")]);
    looked("a is gone", || file.find("a").is_none()).await;
    assert_eq!(counts(), (2, 3));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(counts(), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_leads_elsewhere_is_noticed() {
    let folder = Folder::new();
    // As Kubernetes mounts it: file → ..data/file, ..data → a folder of this version. Both versions are alike from outside.
    for (version, key) in [("v1", "one"), ("v2", "two")] {
        std::fs::create_dir(folder.0.join(version)).unwrap();
        std::fs::write(folder.0.join(version).join("api-keys.toml"), text(&[(key, "")])).unwrap();
    }
    std::os::unix::fs::symlink("v1", folder.0.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/api-keys.toml", folder.path()).unwrap();
    let file = folder.open();
    assert!(file.find("one").is_some());
    tokio::spawn(Arc::clone(&file).follow());
    std::os::unix::fs::symlink("v2", folder.0.join("..data_tmp")).unwrap();
    std::fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
    looked("the other version", || file.find("two").is_some()).await;
    assert!(file.find("one").is_none());
}

#[test]
fn a_stamp_tells_files_apart() {
    let folder = Folder::new();
    assert_eq!(Stamp::of(&folder.path()), None);
    folder.write(&[("a", "")]);
    let stamp = Stamp::of(&folder.path());
    assert_eq!(stamp, Stamp::of(&folder.path()));
    folder.write(&[("aa", "")]);
    assert_ne!(stamp, Stamp::of(&folder.path()));
}
