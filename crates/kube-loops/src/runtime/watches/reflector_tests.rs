// SPDX-License-Identifier: Apache-2.0
use kube::{core::Status, runtime::watcher};

use super::reflector::{Recovery, recovery};

fn watch_error(code: u16) -> watcher::Error {
    watcher::Error::WatchError(Box::new(Status { code, ..Status::failure("", "") }))
}

#[test]
fn every_error_of_a_watch_has_its_answer() {
    let other = || watcher::Error::NoResourceVersion;
    let cases = [
        (other(), 404, true, false, Recovery::NotServed, "kind is missing"),
        (other(), 404, false, true, Recovery::NotServed, "kind was removed"),
        (other(), 422, true, false, Recovery::Pages, "server has no streaming lists"),
        (other(), 400, true, false, Recovery::Pages, "server does not know the parameters"),
        (other(), 422, false, false, Recovery::Relist, "pages were refused: nothing else to try"),
        (other(), 422, true, true, Recovery::Resume, "a later watch was refused"),
        (other(), 403, true, false, Recovery::Relist, "permission is missing"),
        (other(), 403, true, true, Recovery::Resume, "permission was taken away"),
        (other(), 500, true, false, Recovery::Relist, "server trouble while listing"),
        (other(), 0, true, true, Recovery::Resume, "no answer"),
        (other(), 410, false, true, Recovery::Relist, "too old"),
        (watch_error(410), 200, true, true, Recovery::Relist, "too old, said in the stream"),
        (watch_error(500), 200, true, true, Recovery::Resume, "trouble, said in the stream"),
    ];
    for (error, status, streaming, listed, want, why) in cases {
        assert_eq!(recovery(&error, status, streaming, listed), want, "{why}");
    }
}
