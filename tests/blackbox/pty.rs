//! A terminal for one command, on a pseudo-terminal of the kernel.

use crate::spool::{DEADLINE, Spool};
use crate::tools::with_environment_of;
use nix::pty::{Winsize, openpty};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A pirn command on a terminal of its own, which is its controlling one. The command is killed when this is dropped.
pub struct Terminal {
    child: Child,
    /// The side of the user.
    user: File,
    /// The other side; a reading of it can tell about a screen that the command has left.
    device: PathBuf,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts a command on a terminal of this size. Variables that decide on colours are not set, and TERM is `xterm`.
    pub fn start(spool: &Spool, args: &[&str], rows: u16, columns: u16) -> Self {
        Self::start_command(spool.command(args), rows, columns)
    }

    /// As [`Self::start`], with a command that the test has prepared.
    pub fn start_command(command: Command, rows: u16, columns: u16) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let device = fs::read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd())).unwrap();
        let mut own = Command::new("setsid");
        own.arg("--ctty").arg(command.get_program());
        own.args(command.get_args());
        with_environment_of(&mut own, &command);
        if command
            .get_envs()
            .all(|(name, _)| name != OsStr::new("TERM"))
        {
            own.env("TERM", "xterm");
        }
        let child = own
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave)
            .spawn()
            .unwrap();
        // The command's side must not stay open in it.
        drop(own);
        let user = File::from(pty.master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let (mut user, shown) = (user.try_clone().unwrap(), Arc::clone(&shown));
            move || {
                let mut bytes = [0; 4096];
                // An error means that nobody has the other side any more.
                while let Ok(n @ 1..) = user.read(&mut bytes) {
                    shown.lock().unwrap().extend_from_slice(&bytes[..n]);
                }
            }
        });
        Self {
            child,
            user,
            device,
            shown,
            reader: Some(reader),
        }
    }

    /// All bytes that the command has written so far, with `\n` for the `\r\n` of the terminal.
    pub fn shown(&self) -> String {
        let bytes = self.shown.lock().unwrap();
        String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
    }

    /// Waits until the command has written this.
    pub fn wait_shown(&self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.shown().contains(text) {
            assert!(
                Instant::now() < end,
                "waited in vain for {text:?} in\n{}",
                self.shown()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Types these keys.
    pub fn type_keys(&mut self, keys: &str) {
        self.user.write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal, as a window manager does.
    pub fn resize(&self, rows: u16, columns: u16) {
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let device = self.device.to_str().unwrap();
        let mut stty = Command::new("stty");
        stty.args(["-F", device, "rows", &rows, "cols", &columns]);
        assert!(stty.status().unwrap().success());
    }

    /// The settings of the terminal, as stty(1) prints them.
    pub fn settings(&self) -> String {
        let mut stty = Command::new("stty");
        let out = stty.arg("-F").arg(&self.device).arg("-a").output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the command. Gives its exit code (-1 for a signal) and all that it has written.
    pub fn end(mut self) -> (i32, String) {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < end, "did not end:\n{}", self.shown()),
            }
            thread::sleep(Duration::from_millis(2));
        };
        self.reader.take().unwrap().join().unwrap();
        (status.code().unwrap_or(-1), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
