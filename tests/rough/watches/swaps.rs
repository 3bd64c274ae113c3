//! Files that change while the daemon looks at them.

use crate::spool::Spool;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

#[test]
fn a_file_that_is_swapped_for_a_symlink_in_a_loop() {
    let spool = Spool::serving(&["--slots", "2"]);
    let secret = spool.beside("secret");
    let traitor = spool.beside("traitor");
    fs::write(&secret, format!("touch '{}'", traitor.display())).unwrap();
    let end = Instant::now() + Duration::from_secs(4);
    let target = spool.path().join("pending/swapped");
    let mut rounds = 0;
    while Instant::now() < end {
        rounds += 1;
        spool.drop_file("swapped", format!("echo good {rounds}"));
        let link = spool.beside("link");
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        fs::rename(&link, &target).unwrap();
        if rounds % 3 == 0 {
            let _ = fs::remove_file(&target);
        }
    }
    spool.settle();
    assert!(
        !traitor.exists(),
        "a link was followed after {rounds} rounds"
    );
    assert_eq!(
        fs::read_link(spool.path().join("active/swapped")).ok(),
        None
    );
    // Every job that ran, ran as it was dropped, and every link is in bad/ or gone.
    for dir in ["complete", "failed"] {
        for name in spool.ls(dir).iter().filter(|n| n.starts_with("swapped")) {
            let record = spool.record(&format!("{dir}/{name}"));
            let command = record["command"].as_str().unwrap().to_owned();
            assert!(command.starts_with("echo good"), "{record}");
            let said = format!("{}\n", command.strip_prefix("echo ").unwrap());
            assert_eq!(record["output"], said, "{record}");
        }
    }
}

#[test]
fn what_is_edited_after_its_acceptance_runs_as_one_version() {
    let spool = Spool::serving(&["--slots", "1"]);
    let end = Instant::now() + Duration::from_secs(4);
    let mut n = 0;
    while Instant::now() < end {
        n += 1;
        let id = format!("e{n}");
        let versions = ["a", "b"].map(|v| format!("echo {v}{n}; echo {}", v.repeat(200)));
        let staged = spool.beside("edited");
        fs::write(&staged, &versions[0]).unwrap();
        let mine = fs::metadata(&staged).unwrap().ino();
        fs::rename(staged, spool.path().join("pending").join(&id)).unwrap();
        // Somebody changes it in place to a text of the same length, in pending/ or active/, but not the record that
        // replaces it there.
        for dir in ["pending", "active"] {
            let path = spool.path().join(dir).join(&id);
            let open = fs::File::options().write(true).open(path);
            let is_mine = |file: &fs::File| file.metadata().unwrap().ino() == mine;
            if let Some(file) = open.ok().filter(is_mine) {
                let half = versions[1].len() / 2;
                let bytes = versions[1].as_bytes();
                let write = std::os::unix::fs::FileExt::write_all_at;
                let _ = write(&file, &bytes[..half], 0);
                std::thread::sleep(Duration::from_millis(n % 4));
                let _ = write(&file, &bytes[half..], half as u64);
            }
        }
        let record = spool.wait_record(&format!("complete/{id}"));
        let output = record["output"].as_str().unwrap();
        let expected = ["a", "b"].map(|v| format!("{v}{n}\n{}\n", v.repeat(200)));
        assert!(expected.iter().any(|e| e == output), "{id} ran {output:?}");
        let ran = usize::from(output == expected[1]);
        assert_eq!(
            record["command"], versions[ran],
            "{id}: the record says what ran"
        );
    }
}
