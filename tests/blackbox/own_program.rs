//! A sandbox leaves to a job the program that it is, and no other file by that.

use crate::launch::can_confine;
use crate::spool::{Spool, write_program};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

/// A job that may write a script may choose its first line: the name that the kernel reads there is a shell, and the
/// name that ends earlier, or that has the character for bad ones, is a link to what the job must not read.
#[test]
fn the_first_line_of_a_script_opens_no_other_file() {
    if !can_confine() {
        return;
    }
    let mut spool = Spool::made();
    let [out, secret] = ["out", "secret"].map(|name| spool.beside(name));
    fs::create_dir(&out).unwrap();
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "key\n").unwrap();
    spool.config(&json!({"sandbox": {"system": true, "rw": [out]}}).to_string());
    spool.serve(&[]);
    let names: [(&[u8], &str); 4] = [
        (b"cr\r", "cr"),
        (b"vt\x0bx", "vt"),
        (b"utf8\xff", "utf8\u{fffd}"),
        (b"plain", "other"),
    ];
    for (number, (shell, link)) in names.into_iter().enumerate() {
        let shell = out.join(OsStr::from_bytes(shell));
        write_program(&shell, fs::read("/bin/sh").unwrap());
        symlink(&secret, out.join(link)).unwrap();
        let script = out.join(format!("script{number}"));
        let first = [b"#! ", shell.as_os_str().as_bytes(), b"\n"].concat();
        let rest = format!("echo begun; cat {}/key", secret.display());
        write_program(&script, [&first, rest.as_bytes()].concat());
        let job = json!({"command": [script], "split": true, "tries": 1});
        let id = number.to_string();
        let (place, record) = spool.run_json(&id, &job);
        let output = spool.read(&format!("log/{id}"));
        assert_eq!(
            (place.as_str(), output.as_str()),
            ("failed", "begun\n"),
            "{link}: {record}"
        );
    }
}
