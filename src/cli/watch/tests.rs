#![allow(clippy::unwrap_used)]

use super::frame::{Size, frame, most_back};
use super::model::{Model, Page};
use super::picture::{Picture, ShownJob};
use crate::cli::rows::{Form, Row};
use crate::cli::style::{Style, columns};
use crate::core::id::{JobId, QueueName};
use crate::core::progress::JobProgress;
use crate::core::quote::without_escapes;
use crate::core::record::{Record, Work};
use crate::core::time::Wall;
use crate::core::waiting::{WaitReason, WaitWord};
use crate::spool::{QueueStatus, Where};

const NOW: Wall = Wall(1_800_000_000_000_000_000);
const PLAIN: Style = Style {
    has_colours: false,
    width: Some(80),
    is_ascii: false,
};
const COLOURED: Style = Style {
    has_colours: true,
    width: Some(80),
    is_ascii: false,
};

fn job(id: &str, at: &Where, command: &str) -> ShownJob {
    let mut record = Record::new(Work::Text(command.to_owned()));
    record.queue = Some(QueueName::new("mail").unwrap());
    record.started_at = Some(Wall(NOW.0 - 63_000_000_000));
    let id = JobId::new(id).unwrap();
    ShownJob {
        row: Row::new(id, at, &record, None, None, Form::Table, NOW),
        why: None,
        progress: None,
        started: record.started_at,
        ended: "12:00:00".to_owned(),
    }
}

/// A job that runs, and so many that wait and have ended.
fn model(waiting: usize, ended: usize) -> Model {
    let mut running = job("1", &Where::Active, "make all");
    running.progress = JobProgress::read(b"0.42 linking\n", true);
    let pending = Where::Pending(QueueName::new("mail").unwrap());
    let waits = |n| {
        let mut waits = job(&format!("2{n}"), &pending, "later");
        waits.why = Some(WaitReason {
            why: WaitWord::Slots,
            text: "all 4 slots are taken".to_owned(),
        });
        waits
    };
    let ends = |n| job(&format!("3{n}"), &Where::Failed, "exit 9");
    Model {
        picture: Picture {
            path: "/var/spool/pirn".to_owned(),
            slots: (1, 4),
            queues: vec![QueueStatus {
                name: QueueName::new("mail").unwrap(),
                waiting,
                paused: true,
                used: 1,
                slots: Some(2),
            }],
            pending: waiting,
            running: vec![running],
            waiting: (0..waiting).map(waits).collect(),
            ended: (0..ended).map(ends).collect(),
            ..Picture::default()
        },
        now: NOW,
        selected: 0,
        log: (0..100).map(|n| format!("line {n}")).collect(),
        page: Page::Jobs,
        message: None,
    }
}

/// Draws, and checks that every line fits and has no control characters but those of colours.
fn drawn(model: &Model, columns_: usize, rows: usize) -> Vec<String> {
    let size = Size {
        columns: columns_,
        rows,
    };
    let coloured = frame(model, size, COLOURED);
    let lines = frame(model, size, PLAIN);
    assert_eq!((lines.len(), coloured.len()), (rows, rows));
    for (line, coloured) in lines.iter().zip(&coloured) {
        let line = without_escapes(line);
        assert!(columns(&line) <= columns_, "{line}");
        assert_eq!(without_escapes(coloured), line);
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    lines
}

fn row_of<'l>(lines: &'l [String], text: &str) -> &'l str {
    let found = lines.iter().find(|line| line.contains(text));
    found.unwrap_or_else(|| unreachable!("{text:?} is not in\n{}", lines.join("\n")))
}

#[test]
fn both_sizes_show_every_part() {
    for (columns, rows) in [(80, 24), (200, 50)] {
        let lines = drawn(&model(3, 3), columns, rows);
        let all = lines.join("\n");
        for text in [
            "/var/spool/pirn",
            "no daemon",
            "3 waiting",
            "mail 3 (1 of 2 run) paused",
            "1 of 4 slots",
            "████░░░░░░  42%",
            "1m 3s",
            "make all",
            "line 99",
            "q quit",
        ] {
            assert!(all.contains(text), "{text:?} is not in\n{all}");
        }
        assert_eq!(all.contains("linking"), columns == 200);
        assert_eq!(all.contains("all 4 slots are taken"), columns == 200);
        // Without colours the selected line is in reverse video all the same.
        assert!(row_of(&lines, "make all").starts_with("\x1b[7m> 1 "));
    }
}

#[test]
fn parts_share_the_rows_and_the_selected_job_is_in_sight() {
    let mut model = model(100, 100);
    for selected in [0, 1, 50, 100, 101, 200] {
        model.selected = selected;
        let lines = drawn(&model, 80, 24);
        let id = model.id().unwrap();
        assert!(row_of(&lines, "\x1b[7m").contains(&format!("> {id} ")));
        assert!(lines.iter().any(|line| line.contains("line 99")));
    }
}

#[test]
fn text_of_jobs_is_not_obeyed_and_does_not_get_wider() {
    let mut model = model(0, 0);
    let hostile =
        "\x1b[2J\x1b]0;x\x07 日本語日本語日本語日本語日本語日本語日本語日本語 👩‍👩‍👧 \u{9b}31m \t\r\n";
    model.picture.running = vec![job("日本語", &Where::Active, &hostile.repeat(5))];
    model.log = vec![
        hostile.repeat(9),
        "\x1b[31mred\x1b[0m\tx".to_owned(),
        "10%\r20%\r".to_owned(),
    ];
    let lines = drawn(&model, 80, 24);
    assert!(row_of(&lines, "red").ends_with("  red     x"));
    assert!(row_of(&lines, "20%").ends_with("  20%"));
    model.page = Page::Log { back: 0 };
    drawn(&model, 80, 24);
    drawn(&model, 201, 50);
}

#[test]
fn a_log_is_scrolled_to_both_ends() {
    let mut model = model(0, 0);
    let size = Size {
        columns: 80,
        rows: 24,
    };
    model.log[50] = "x".repeat(200);
    let most = most_back(&model.log, size);
    assert_eq!(most, 102 - 22);
    for (back, first, last) in [(0, "line 78", "line 99"), (most, "line 0", "line 21")] {
        model.page = Page::Log { back };
        let lines = drawn(&model, 80, 24);
        assert_eq!((lines[1].as_str(), lines[22].as_str()), (first, last));
    }
    model.log.clear();
    assert_eq!(drawn(&model, 80, 24)[1], "It has written nothing.");
}

#[test]
fn a_small_screen_says_so() {
    for (columns, rows) in [(79, 24), (80, 23), (3, 1), (1, 1)] {
        let lines = drawn(&model(3, 3), columns, rows);
        assert!(columns < 60 || lines[0].contains("80 x 24 is enough"));
    }
}
