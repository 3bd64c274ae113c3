//! The laws for dialects and any body.

use pirn::core::id::JobId;
use pirn::core::record::{Record, Work};
use pirn::http::dialect::jobrunner::request::Payload;
use pirn::http::dialect::qmd::request::{Priority, RunRequest};
use serde_json::json;

/// An accepted body names one script and is a record that can be written and read; every other has a reason.
pub fn qmd(data: &[u8]) {
    let wanted = match RunRequest::read(data) {
        Ok(wanted) => wanted,
        Err(why) => return assert!(!why.is_empty()),
    };
    assert!(wanted.files.keys().all(|name| !name.contains('/')));
    let script = JobId::new("script.sh").unwrap();
    let record = match wanted.record(&script, Priority::Low) {
        Ok(record) => record,
        Err(why) => return assert!(!why.is_empty()),
    };
    let again = Record::from_json(&record.to_json()).unwrap();
    let Work::Script { name, args } = &again.work else {
        panic!("{:?}", again.work)
    };
    assert_eq!((name, args), (&script, &wanted.args));
    assert!(again.env.is_empty() && again.cwd.is_none() && again.id.is_none());
    assert_eq!(again.files.len(), wanted.files.len());
    // The same body in its simplest form.
    let plain =
        json!({"args": wanted.args, "files": wanted.files, "callback_url": wanted.callback_url});
    assert_eq!(RunRequest::read(plain.to_string().as_bytes()), Ok(wanted));
}

/// An accepted body has an id and data, and means the same when it is written as the manual describes.
pub fn jobrunner(data: &[u8]) {
    let Ok(payload) = Payload::read(data) else {
        return;
    };
    let is_good = payload.check().is_ok();
    assert_eq!(
        is_good,
        !payload.id.is_empty() && !payload.id.contains('\0') && !payload.data.is_empty()
    );
    let numbers = json!({"id": payload.id, "data": payload.data});
    assert_eq!(Payload::read(numbers.to_string().as_bytes()), Ok(payload));
}
