//! Where Enter on a limit or an alert leads: to the processes that it holds for, the fastest growing first.

use std::sync::Arc;

use super::view::View;
use crate::{
    limits::{Limit, LimitUse, Scope},
    model::{Process, alert::AlertView},
    top::columns::{Direction, Sort},
};

/// What the processes that are shown have in common, until Esc leads back.
#[derive(Clone, Debug, PartialEq)]
pub struct Within {
    /// What that is, for people.
    pub label: String,
    /// How they are sorted.
    pub sort: Sort,
    /// The view it was chosen in.
    pub from: View,
    which: Which,
}

#[derive(Clone, Debug, PartialEq)]
enum Which {
    All,
    Cgroup(Arc<str>),
    User(Arc<str>),
    Group(Arc<str>),
    /// A process does not tell its namespace, but its nearest limit.
    Nearest(Limit, Scope, Arc<str>),
}

/// What Enter leads to.
pub(super) enum Target {
    Process(u32),
    Within(Within),
}

impl Within {
    fn new(which: Which, label: String, from: View) -> Self {
        let sort = Sort { column: "threads_grown_per_second", direction: Direction::Descending };
        Self { label, sort, from, which }
    }

    /// Whether a process is one of them.
    pub fn holds(&self, process: &Process) -> bool {
        match &self.which {
            Which::All => true,
            Which::Cgroup(path) => process.cgroup.as_deref().is_some_and(|cgroup| is_at_or_below(cgroup, path)),
            Which::User(name) => process.user == *name && !process.is_kernel_thread,
            Which::Group(group) => process.group == *group,
            Which::Nearest(limit, scope, name) => process.headroom.as_ref().is_some_and(|headroom| {
                let mut near = [Some(&headroom.binding), headroom.first_exhausted.as_ref()].into_iter().flatten();
                near.any(|of| (of.limit, of.scope, &of.name) == (*limit, *scope, name))
            }),
        }
    }
}

fn is_at_or_below(cgroup: &str, path: &str) -> bool {
    let below = cgroup.strip_prefix(path.trim_end_matches('/'));
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Of a limit: `name` is whose it is, without what kind of owner that is.
fn of_limit((limit, scope): (Limit, Scope), name: &str, from: View) -> Target {
    let within = |which, label| Target::Within(Within::new(which, label, from));
    let what = limit.label();
    match scope {
        Scope::Host => within(Which::All, format!("{what} of the host")),
        Scope::Cgroup => within(Which::Cgroup(name.into()), format!("{what} of {name}")),
        Scope::User => within(Which::User(name.into()), format!("{what} of user {name}")),
        Scope::PidNamespace => {
            within(Which::Nearest(limit, scope, name.into()), format!("{what} of pid namespace {name}"))
        }
        // As `1200 (java)`.
        Scope::Process => match name.split(' ').next().and_then(|pid| pid.parse().ok()) {
            Some(pid) => Target::Process(pid),
            None => within(Which::Nearest(limit, scope, name.into()), format!("{what} of process {name}")),
        },
    }
}

impl Target {
    /// Of a limit.
    pub(super) fn of_limit(limit: &LimitUse) -> Self {
        of_limit((limit.limit, limit.scope), &limit.name, View::Limits)
    }

    /// Of an alert: those of the limit it is about, or else of its group.
    pub(super) fn of_alert(alert: &AlertView) -> Self {
        match (alert.limit, alert.scope) {
            (Some(limit), Some(scope)) => {
                let kind = match scope {
                    Scope::PidNamespace => "pid namespace ",
                    Scope::User => "user ",
                    Scope::Process => "process ",
                    Scope::Host | Scope::Cgroup => "",
                };
                // A group whose limit it is has its own name.
                match (scope, alert.group.strip_prefix(kind)) {
                    (Scope::Cgroup, _) if !alert.group.starts_with('/') => Self::of_group(alert),
                    (_, Some(name)) => of_limit((limit, scope), name, View::Alerts),
                    (_, None) => Self::of_group(alert),
                }
            }
            _ => Self::of_group(alert),
        }
    }

    fn of_group(alert: &AlertView) -> Self {
        let which = if &*alert.group == "host" { Which::All } else { Which::Group(Arc::clone(&alert.group)) };
        Self::Within(Within::new(which, format!("{} of {}", alert.alert.label(), alert.group), View::Alerts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_holds_what_is_in_it_and_below_and_not_what_only_begins_alike() {
        let held = |cgroup, path| is_at_or_below(cgroup, path);
        assert!(held("/a", "/a") && held("/a/b", "/a") && held("/a", "/"));
        assert!(!held("/ab", "/a") && !held("/", "/a"));
    }
}
