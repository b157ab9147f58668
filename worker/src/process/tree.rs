//! Finds every process of an attempt, and signals them.
//!
//! On Linux a sweep through `/proc` takes as members: the leader; everybody in its process group; whoever bears
//! the attempt's marker in the environment it was started with (this finds a grandchild that forked twice into a session
//! of its own); then, until nothing is added, children of members and everybody in a session that a member made.
//! A session or process group is the attempt's only when the process that made it, whose number it bears, is
//! or was a member: attempts live in the session of their worker, with the login shell and whatever else the user runs.
//! Members that were seen once stay members. Each is a pair of process id and start time and is signalled through a
//! file descriptor of it (pidfd), so that an id that was given to somebody else meanwhile is never hit. What escapes
//! has, before the first sweep, left its session, cleared its environment and lost its parent, all three: that is a daemon by intent.
//!
//! Without `/proc` only the leader's process group is known.
//!
//! Deliberately absent. Cgroups: moving a child takes the kernel milliseconds, what it forked before the move
//! escapes, and a unit that is not delegated is not ours to divide. A subreaper: orphans of all attempts would
//! become nameless children of the worker, and reaping them would take the children of the runtime away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, kill_process_group, pidfd_open, pidfd_send_signal, waitid,
};

use super::spec::ATTEMPT_VARIABLE;

/// One line of the table of processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Process {
    pid: Pid,
    parent: i32,
    group: i32,
    session: i32,
    /// In clock ticks since the machine started; with the pid the identity of a process.
    start: u64,
    /// Ended, and only not yet reaped.
    zombie: bool,
}

/// When a process started, in the machine's own count; none when it is gone.
fn start_of(pid: Pid) -> Option<u64> {
    Some(read(pid)?.start)
}

/// The processes of one attempt, or of several.
#[derive(Debug)]
pub(super) struct Tree {
    leaders: Vec<Leader>,
    markers: BTreeSet<Vec<u8>>,
    /// Members of all sweeps so far: process id and start time.
    seen: BTreeMap<i32, u64>,
    scope: Scope,
}

/// Who is a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scope {
    /// Everybody that can be found.
    Whole,
    /// Only who stayed in a leader's process group.
    Groups,
}

/// The first process of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leader {
    pid: Pid,
    start: Option<u64>,
    /// Whether it has a process group of its own, whose id is its own.
    leads_group: bool,
    child: Child,
}

/// Whose child a leader is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Child {
    /// Ours, and not reaped: its id cannot be given away.
    Held,
    /// Ours, and reaped: its id stands for its group only.
    Reaped,
    /// Somebody else's.
    Foreign,
}

impl Leader {
    /// A child of this process that leads a group and must not be reaped before the tree is done with.
    pub(super) fn held(pid: Pid) -> Self {
        Self { pid, start: start_of(pid), leads_group: true, child: Child::Held }
    }

    /// A child of this process that led a group, and is reaped.
    pub(super) fn reaped(pid: Pid) -> Self {
        Self { pid, start: None, leads_group: true, child: Child::Reaped }
    }

    /// A process that another process started, as it is now; none when it is gone.
    pub(super) fn foreign(pid: Pid) -> Option<Self> {
        let it = read(pid)?;
        let leads_group = it.group == pid.as_raw_pid();
        Some(Self { pid, start: Some(it.start), leads_group, child: Child::Foreign })
    }

    /// Whether it has not ended.
    fn is_alive(&self) -> bool {
        match self.child {
            Child::Held => {
                let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
                waitid(WaitId::Pid(self.pid), look).is_ok_and(|status| status.is_none())
            }
            Child::Reaped => false,
            Child::Foreign => read(self.pid).is_some_and(|it| self.is(&it) && !it.zombie),
        }
    }

    fn is(&self, process: &Process) -> bool {
        process.pid == self.pid && self.start == Some(process.start)
    }

    /// The group of a leader that is reaped is the attempt's as long as nobody bears its number as a process id.
    fn leads(&self, process: &Process) -> bool {
        self.leads_group
            && process.group == self.pid.as_raw_pid()
            && (self.child != Child::Reaped || process.pid != self.pid)
    }
}

impl Tree {
    /// The tree of these leaders, and of whoever bears one of these markers.
    pub(super) fn new(leaders: Vec<Leader>, markers: impl IntoIterator<Item = String>) -> Self {
        let mark = |marker| format!("{ATTEMPT_VARIABLE}={marker}").into_bytes();
        Self { leaders, markers: markers.into_iter().map(mark).collect(), seen: BTreeMap::new(), scope: Scope::Whole }
    }

    /// Whether a member that was seen is alive; quick, but it finds nobody new.
    pub(super) fn is_known_alive(&self) -> bool {
        self.leaders.iter().any(Leader::is_alive)
            || self.seen.iter().any(|(&pid, &start)| {
                Pid::from_raw(pid).and_then(read).is_some_and(|it| it.start == start && !it.zombie)
            })
    }

    /// Sends TERM, and CONT, to the members that have not been seen before. Returns how many are alive.
    pub(super) fn terminate(&mut self) -> usize {
        let before = self.seen.clone();
        let members = self.sweep();
        for member in &members {
            if before.get(&member.pid.as_raw_pid()) != Some(&member.start) {
                signal(member, Signal::TERM);
                // One that is stopped would not hear of it.
                signal(member, Signal::CONT);
            }
        }
        self.alive(members.len(), Signal::TERM)
    }

    /// Sends KILL to every member. Returns how many were alive.
    pub(super) fn kill(&mut self) -> usize {
        let members = self.sweep();
        // Groups first: that is one call, which no fork outruns.
        let groups: BTreeSet<i32> =
            members.iter().filter(|it| self.is_led(it) || self.was_member(it.group)).map(|it| it.group).collect();
        for group in groups.into_iter().filter_map(Pid::from_raw) {
            // It may be gone by now.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
        for member in &members {
            signal(member, Signal::KILL);
        }
        self.alive(members.len(), Signal::KILL)
    }

    /// How many members live outside the leaders' process groups, and inside.
    pub(super) fn census(&mut self) -> Census {
        let members = self.sweep();
        let inside = members.iter().filter(|it| self.is_led(it)).count();
        Census { inside, outside: members.len() - inside }
    }

    /// Spares from now on whoever has left the process groups of the leaders.
    pub(super) fn narrow(&mut self) {
        self.scope = Scope::Groups;
        self.seen.clear();
    }

    /// Without `/proc`, the leaders' groups are signalled and counted as one each.
    fn alive(&self, members: usize, signal: Signal) -> usize {
        if members > 0 || has_proc() {
            return members;
        }
        let signalled = |leader: &&Leader| {
            let alive = leader.child == Child::Reaped || leader.is_alive();
            kill_process_group(leader.pid, signal).is_ok() && alive
        };
        let ours = self.leaders.iter().filter(|leader| leader.child != Child::Foreign);
        ours.filter(signalled).count()
    }

    /// The members that are alive now.
    fn sweep(&mut self) -> Vec<Process> {
        let table = table();
        let own = getpid();
        let oldest = self.leaders.iter().filter_map(|leader| leader.start).min().unwrap_or(0);
        let mut members = BTreeMap::new();
        let mut others = Vec::new();
        for it in table {
            if it.zombie || it.pid == own || it.pid.is_init() {
                continue;
            }
            if self.is_root(&it, oldest) {
                members.insert(it.pid.as_raw_pid(), it);
            } else {
                others.push(it);
            }
        }
        match self.scope {
            Scope::Groups => {}
            Scope::Whole => self.close(&mut members, others),
        }
        self.seen.extend(members.iter().map(|(&pid, it)| (pid, it.start)));
        members.into_values().collect()
    }

    /// Whether a process is a member by itself.
    fn is_root(&self, it: &Process, oldest: u64) -> bool {
        self.is_led(it)
            || match self.scope {
                Scope::Groups => false,
                Scope::Whole => {
                    self.seen.get(&it.pid.as_raw_pid()) == Some(&it.start)
                        || self.leaders.iter().any(|leader| leader.is(it))
                        || (it.start >= oldest && self.is_marked(it.pid))
                }
            }
    }

    /// Adds children of members, and whoever is in a session that a member made, until there are no more.
    fn close(&self, members: &mut BTreeMap<i32, Process>, mut others: Vec<Process>) {
        loop {
            let sessions: BTreeSet<i32> = members
                .values()
                .map(|it| it.session)
                .filter(|session| members.contains_key(session) || self.was_member(*session))
                .collect();
            let (found, rest): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|it| members.contains_key(&it.parent) || sessions.contains(&it.session));
            if found.is_empty() {
                return;
            }
            members.extend(found.into_iter().map(|it| (it.pid.as_raw_pid(), it)));
            others = rest;
        }
    }

    /// Whether this was the number of a member, and is nobody else's now. A number is not given away while a session
    /// or a group bears it.
    fn was_member(&self, number: i32) -> bool {
        self.seen.get(&number).is_some_and(|start| {
            Pid::from_raw(number).is_some_and(|pid| start_of(pid).is_none_or(|found| found == *start))
        })
    }

    fn is_led(&self, it: &Process) -> bool {
        self.leaders.iter().any(|leader| leader.leads(it))
    }

    fn is_marked(&self, pid: Pid) -> bool {
        if self.markers.is_empty() {
            return false;
        }
        let environ = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| self.markers.contains(variable))
    }
}

/// How many members there are, by whether they stayed in their leader's process group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Census {
    pub(super) inside: usize,
    pub(super) outside: usize,
}

/// Through a descriptor of the process: between the look at its start time and the signal its id cannot change hands.
fn signal(process: &Process, signal: Signal) {
    let Ok(pidfd) = pidfd_open(process.pid, PidfdFlags::empty()) else {
        return;
    };
    if start_of(process.pid) == Some(process.start)
        && let Err(error) = pidfd_send_signal(pidfd, signal)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(pid = process.pid.as_raw_pid(), %error, "process not signalled");
    }
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn table() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            read(Pid::from_raw(pid)?)
        })
        .collect()
}

fn read(pid: Pid) -> Option<Process> {
    parse(pid, &fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?)
}

/// Reads a line of `/proc/PID/stat`; the name in it may hold anything, so the fields are counted from its last bracket.
fn parse(pid: Pid, line: &[u8]) -> Option<Process> {
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(line.get(end + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let threads: u32 = fields.nth(13)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    // A process whose main thread has ended while others run shows as a zombie, too.
    let zombie = matches!(state, "Z" | "X" | "x") && threads <= 1;
    Some(Process { pid, parent, group, session, start, zombie })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_name() {
        let pid = Pid::from_raw(42).unwrap();
        let rest = "0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987 0 0";
        for (name, state, zombie) in [("sh", "S", false), ("a) Z 1 1 (", "R", false), ("\u{fffd} x", "Z", true)] {
            let line = format!("42 ({name}) {state} 7 8 9 {rest}");
            let expected = Process { pid, parent: 7, group: 8, session: 9, start: 987, zombie };
            assert_eq!(parse(pid, line.as_bytes()), Some(expected), "{line}");
        }
        for line in ["", "42 (sh", "42 (sh) S 7", "42 (sh) S x 8 9"] {
            assert_eq!(parse(pid, line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn this_process_is_in_the_table_with_its_start() {
        let own = table().into_iter().find(|it| it.pid == getpid()).unwrap();
        assert_eq!(start_of(getpid()), Some(own.start));
    }
}
