// SPDX-License-Identifier: Apache-2.0
use kube::{core::Status, runtime::watcher};

use super::feed::{After, after};

fn watch_error(code: u16) -> watcher::Error {
    watcher::Error::WatchError(Box::new(Status { code, ..Status::failure("", "") }))
}

#[test]
fn every_error_of_a_watch_has_its_answer() {
    let other = || watcher::Error::NoResourceVersion;
    let cases = [
        (other(), 404, true, false, After::NotServed, "kind is missing"),
        (other(), 404, false, true, After::NotServed, "kind was removed"),
        (other(), 422, true, false, After::Pages, "server has no streaming lists"),
        (other(), 400, true, false, After::Pages, "server does not know the parameters"),
        (other(), 422, false, false, After::Relist, "pages were refused: nothing else to try"),
        (other(), 422, true, true, After::Resume, "a later watch was refused"),
        (other(), 403, true, false, After::Relist, "permission is missing"),
        (other(), 403, true, true, After::Resume, "permission was taken away"),
        (other(), 500, true, false, After::Relist, "server trouble while listing"),
        (other(), 0, true, true, After::Resume, "no answer"),
        (other(), 410, false, true, After::Relist, "too old"),
        (watch_error(410), 200, true, true, After::Relist, "too old, said in the stream"),
        (watch_error(500), 200, true, true, After::Resume, "trouble, said in the stream"),
    ];
    for (error, status, streaming, listed, want, why) in cases {
        assert_eq!(after(&error, status, streaming, listed), want, "{why}");
    }
}
