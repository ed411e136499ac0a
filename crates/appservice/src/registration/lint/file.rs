//! Who else on this machine can read the files.

use super::{
    super::Registration,
    finding::{Code, Finding, Severity},
};

pub(super) fn check(registration: &Registration, tell: &mut dyn FnMut(Finding)) {
    for (path, mode) in &registration.origin.modes {
        let finding = |severity| Finding::of_file(Code::OpenFile, severity, path.clone());
        if mode & 0o002 != 0 {
            tell(
                finding(Severity::Error)
                    .says("can be changed by everyone on this machine")
                    .advises("`chmod 600` it, or 640 with the homeserver's group"),
            );
        } else if mode & 0o004 != 0 {
            tell(
                finding(Severity::Warning)
                    .says("can be read by everyone on this machine, and holds secrets")
                    .advises("`chmod 600` it, or 640 with the homeserver's group"),
            );
        }
    }
}
