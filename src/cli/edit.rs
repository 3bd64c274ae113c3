//! `pirn edit`.

use super::existing;
use super::exit::{BAD_DATA, CommandResult, FAILURE, Failure, NOT_NOW, OK};
use super::select::Selection;
use super::served;
use super::settings;
use super::start::see_to_daemon;
use super::steer::{self, NotDone};
use crate::core::id::JobId;
use crate::core::record::{Record, State};
use crate::os::signals;
use crate::spool::{HeldText, IfSame, Place, Spool, Steered, edit_copy};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, clap::Args)]
pub struct EditArgs {
    #[command(flatten)]
    jobs: Selection,
}

/// Edits jobs one after the other; stops at the first that cannot be.
pub fn edit(path: &Path, args: &EditArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    served::refuse_old_daemon(&spool)?;
    let states = [State::Pending, State::Held];
    for id in args.jobs.to_change(&spool, &states)?.ids {
        edit_one(&spool, &id)?;
    }
    Ok(OK)
}

/// Holds the job while its user edits a copy. Then it goes back to where it was, unless the text is no job.
fn edit_one(spool: &Spool, id: &JobId) -> Result<(), Failure> {
    let busy = || {
        let what = format!("job {id} is being edited by another process already");
        Failure::new(NOT_NOW, what)
    };
    let _editing = spool.begin_editing(id)?.ok_or_else(busy)?;
    let was = match spool.durably(|changed| spool.hold(id, changed))? {
        Steered::Done(was) => was,
        Steered::Missing => return Err(Failure::no_job(id)),
        Steered::Wrong(state) => {
            let what = format!("job {id} does not wait: it is in {state}/");
            return Err(Failure::new(FAILURE, what));
        }
    };
    let gone = || Failure::new(FAILURE, format!("job {id} is not held any more"));
    let text = match spool.held_text(id) {
        Ok(text) => text.ok_or_else(gone)?,
        Err(e) => {
            let_go(spool, id, was)?;
            return Err(Failure::from(e).about(format!("job {id} cannot be edited")));
        }
    };
    let is_new_copy = match spool.make_edit_copy(id, &text.bytes) {
        Ok(is_new_copy) => is_new_copy,
        Err(e) => {
            let_go(spool, id, was)?;
            return Err(Failure::from(e).in_place(&path_of_copy(spool, id)));
        }
    };
    if !is_new_copy {
        let copy = path_of_copy(spool, id);
        eprintln!("pirn: going on with an earlier editing, {}", copy.display());
    }
    if let Err(e) = run_editor(&path_of_copy(spool, id)) {
        let what = format!("the editor: {e}; job {id} stays as it was");
        if is_new_copy {
            spool.remove_edit_copy(id)?;
        }
        let_go(spool, id, was)?;
        return Err(Failure::new(FAILURE, what));
    }
    put_back(spool, id, &text)?;
    spool.remove_edit_copy(id)?;
    if !is_new_copy && was == State::Held {
        // The earlier editing left it held, though it may have waited before that.
        eprintln!("pirn: job {id} stays held; pirn release {id} lets it go");
    }
    let_go(spool, id, was)
}

fn path_of_copy(spool: &Spool, id: &JobId) -> PathBuf {
    let path = spool.path_of(&Place::Tmp).join(edit_copy(id));
    std::path::absolute(&path).unwrap_or(path)
}

/// Runs the editor as other programs do: its name may have arguments.
fn run_editor(copy: &Path) -> Result<(), String> {
    let set = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR"));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // The shell must survive ^C and ^\ too, which are meant for the editor.
    let line = format!("trap : INT QUIT; {editor} \"$1\"");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &line, "sh"]).arg(copy);
    match signals::without_keys(|| command.status()).flatten() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{editor}: {status}")),
        Err(e) => Err(format!("{editor}: {e}")),
    }
}

/// Replaces the held file by the edited text. The copy stays if that cannot be done, and so the work of the user.
fn put_back(spool: &Spool, id: &JobId, text: &HeldText) -> Result<(), Failure> {
    let most = settings::read(spool.path()).map_or(u64::MAX, |config| config.max_job_bytes);
    let copy = path_of_copy(spool, id);
    let stays = |what: String| {
        let copy = copy.display();
        let what = format!("{what}; job {id} is held: pirn edit {id} goes on with {copy}");
        Failure::new(BAD_DATA, what)
    };
    let unwritten = |e| {
        let failure = Failure::from(e).in_place(spool.path());
        stays(failure.message).with_code(failure.code)
    };
    let edited = spool.read_edit_copy(id, most)?.ok_or_else(|| {
        stays(format!(
            "the text is gone or larger than {most} bytes (max_job_bytes)"
        ))
    })?;
    if edited == text.bytes {
        return Ok(());
    }
    Record::from_bytes(&edited).map_err(|e| stays(e.to_string()))?;
    match spool.put_edited(id, text, &edited).map_err(unwritten)? {
        IfSame::Done(()) => Ok(()),
        IfSame::Changed => Err(stays("its file has changed meanwhile".to_owned())),
        IfSame::Gone => {
            let copy = copy.display();
            let what = format!("job {id} is not held any more; {copy} has your text");
            Err(Failure::new(BAD_DATA, what))
        }
    }
}

/// Releases a job that waited before.
fn let_go(spool: &Spool, id: &JobId, was: State) -> Result<(), Failure> {
    if was == State::Held {
        return Ok(());
    }
    match spool.durably(|changed| steer::release_one(spool, id, changed)) {
        Ok(()) => {
            see_to_daemon(spool);
            Ok(())
        }
        Err(NotDone::Elsewhere(failure) | NotDone::Failed(failure)) => Err(failure),
    }
}
