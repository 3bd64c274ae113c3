//! Examples for the help of commands. A test parses each of them.

/// A line, and what it does.
type Example = (&'static str, &'static str);

/// The examples of each command.
pub const ALL: [(&str, &[Example]); 36] = [
    (
        "add",
        &[
            (
                "pirn add 'make && make install'",
                "one word is a line for sh",
            ),
            ("pirn add -q mail ./send 7", "a program with its arguments"),
            (
                "pirn add --after last --tries 3 ./load",
                "after the newest, two retries",
            ),
            (
                "ls *.wav | sed 's/^/flac /' | pirn add --batch",
                "a job for each line",
            ),
        ],
    ),
    (
        "run",
        &[
            ("pirn run make", "show the output, exit as make does"),
            (
                "pirn run -q big --timeout 1h ./train",
                "wait for the turn of a queue",
            ),
        ],
    ),
    (
        "ls",
        &[
            ("pirn ls", "jobs in all states"),
            ("pirn ls failed -n 5", "the five that failed last"),
            ("pirn ls 3-7 last", "these jobs"),
            ("pirn ls --tag nightly --json", "records, for jq"),
        ],
    ),
    (
        "log",
        &[
            ("pirn log", "what the newest job wrote"),
            ("pirn log -f 7", "follow a job until it ends"),
            (
                "pirn log -n 20 --failed",
                "the last lines of all that failed",
            ),
        ],
    ),
    (
        "wait",
        &[
            ("pirn wait", "for the newest job; exits as it did"),
            (
                "pirn wait 3-7 --timeout 10m",
                "for five jobs, at most ten minutes",
            ),
        ],
    ),
    (
        "watch",
        &[(
            "pirn watch",
            "the spool as it changes, on the whole terminal",
        )],
    ),
    (
        "serve",
        &[
            ("pirn serve --detach", "in the background"),
            (
                "pirn serve --drain --slots 8",
                "work through what is there, then exit",
            ),
            (
                "pirn serve --http 127.0.0.1:8080",
                "with HTTP and a page at /ui",
            ),
        ],
    ),
    (
        "at",
        &[
            ("pirn at 'tomorrow 4pm' ./report", "the time is one word"),
            (
                "pirn at 'now + 5 minutes' --on-finish ./tell make",
                "with options of add",
            ),
        ],
    ),
    (
        "show",
        &[
            ("pirn show", "the newest job"),
            ("pirn show 7 --json", "its record, environment included"),
        ],
    ),
    (
        "cancel",
        &[
            ("pirn cancel 7 8", "two jobs"),
            ("pirn cancel -q mail --all", "all of a queue"),
        ],
    ),
    (
        "kill",
        &[
            ("pirn kill 7", "SIGTERM"),
            ("pirn kill -s HUP last", "another signal, to the newest job"),
        ],
    ),
    (
        "retry",
        &[
            ("pirn retry --failed", "all that failed"),
            ("pirn retry --copy 7", "once more, under a new id"),
        ],
    ),
    (
        "rm",
        &[
            ("pirn rm 7", "with its log"),
            ("pirn rm --kill last", "even if it runs"),
        ],
    ),
    (
        "hold",
        &[
            ("pirn hold 7", "not to be started"),
            ("pirn hold -q mail", "all that wait in a queue"),
        ],
    ),
    (
        "release",
        &[
            ("pirn release 7", "back to its queue"),
            ("pirn release --all", "all that are held"),
        ],
    ),
    ("urgent", &[("pirn urgent 7", "the next of its queue")]),
    (
        "move",
        &[("pirn move 7 8 night", "two jobs to the queue night")],
    ),
    ("edit", &[("pirn edit last", "the newest job, in $EDITOR")]),
    (
        "clean",
        &[
            ("pirn clean", "all that ended well"),
            (
                "pirn clean --state failed --older 30d",
                "what failed a month ago",
            ),
        ],
    ),
    (
        "status",
        &[
            ("pirn status", "troubles first"),
            ("pirn status --json", "for scripts"),
        ],
    ),
    (
        "slots",
        &[
            ("pirn slots 4", "four jobs at a time"),
            ("pirn slots -q mail 1", "one of a queue"),
        ],
    ),
    (
        "pause",
        &[
            ("pirn pause", "all queues"),
            ("pirn pause mail", "one queue"),
        ],
    ),
    (
        "resume",
        &[
            ("pirn resume", "all queues"),
            ("pirn resume mail", "one queue"),
        ],
    ),
    (
        "stop",
        &[
            ("pirn stop", "when running jobs have ended"),
            ("pirn stop --now", "queue them again"),
        ],
    ),
    ("drain", &[("pirn drain", "when all is done")]),
    (
        "push",
        &[
            ("pirn push far ./build", "to a queue that the settings name"),
            ("pirn push redis://host#work make", "to a URL"),
        ],
    ),
    (
        "result",
        &[(
            "pirn result far --wait 10m 01J8Z",
            "the id is what push printed",
        )],
    ),
    (
        "pull",
        &[
            ("pirn pull far --slots 4", "four jobs at most"),
            ("pirn pull --status", "the open leases"),
        ],
    ),
    (
        "qdone",
        &[
            (
                "pirn qdone enqueue work 'make -C /src'",
                "a command for a queue",
            ),
            ("pirn qdone worker work", "run the commands of a queue"),
        ],
    ),
    (
        "config",
        &[
            ("pirn config check", "what is wrong, and where"),
            ("pirn config set queues.mail.slots 2", "one setting"),
        ],
    ),
    (
        "token",
        &[(
            "pirn token new phone read,push",
            "may look, and start scripts",
        )],
    ),
    (
        "users",
        &[
            ("pirn users add alice", "a spool for a user"),
            ("pirn users ls", "who has one"),
        ],
    ),
    (
        "launch",
        &[(
            "pirn launch --system --rw . make",
            "may change this directory only",
        )],
    ),
    (
        "new-id",
        &[("pirn new-id", "to name a file in pending/ with")],
    ),
    (
        "completions",
        &[(
            "pirn completions bash",
            "to be read by bash: eval \"$(...)\"",
        )],
    ),
    (
        "help",
        &[
            ("pirn help add", "a command"),
            ("pirn help times", "a topic"),
        ],
    ),
];

/// The part of a help.
pub fn text(lines: &[Example]) -> String {
    let widest = lines
        .iter()
        .map(|(line, _)| line.len())
        .max()
        .unwrap_or_default();
    let lines = lines
        .iter()
        .map(|(line, about)| format!("\n  {line:<widest$}  {about}"));
    format!("Examples:{}", lines.collect::<String>())
}
