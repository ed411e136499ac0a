//! Namespaces of one registration that take the same id. What is told is proven by such an id; what isn't
//! told isn't proven: patterns may overlap in ids that were not tried.

use super::{
    super::{Namespace, NamespaceKind, Registration, namespace::field},
    finding::{Code, Finding, Severity},
    shown,
};

pub(super) fn check(registration: &Registration, tell: &mut dyn FnMut(Finding)) {
    for kind in NamespaceKind::ALL {
        let list: Vec<_> = registration.namespaces.list(kind).iter().collect();
        for (index, one) in list.iter().enumerate() {
            let before = list[..index].iter().enumerate();
            for (earlier, other) in before {
                if let Some(id) = in_both(other, one) {
                    let what = format!(
                        "takes {} which `{}` takes as well",
                        if id.is_empty() {
                            "ids".to_owned()
                        } else {
                            format!("`{}`,", shown(&id))
                        },
                        field(kind, earlier),
                    );
                    let finding = if one.is_exclusive() == other.is_exclusive() {
                        Finding::new(Code::Overlap, Severity::Note, field(kind, index))
                            .says(what)
                            .advises("one pattern may be enough")
                    } else {
                        Finding::new(Code::Overlap, Severity::Warning, field(kind, index))
                            .says(format!(
                                "{what}, and only one of them is exclusive: the earlier one decides"
                            ))
                            .advises("put the narrower one first, or keep them apart")
                    };
                    tell(finding);
                }
            }
        }
    }
}

/// An id that both take, the shortest that was found.
fn in_both(one: &Namespace, other: &Namespace) -> Option<String> {
    let mut found: Vec<String> = one.pattern.witnesses();
    found.extend(other.pattern.witnesses());
    found.retain(|id| one.matches(id) && other.matches(id));
    found.into_iter().min_by_key(String::len)
}
