//! The wrapper of a command on another machine: a script for any POSIX shell, which the shell reads from its standard input.
//!
//! So neither the command nor its environment stand in a list of processes here, and no login shell takes them apart. The script is
//! one compound command: a shell has read all of it before it begins. It says that it is there, and starts the command only
//! when it is told `go`: whoever heard nothing of it knows that nothing was started. Then a watcher reads on: at `term`
//! and `kill` it signals the whole tree, and when its input ends, because the connection or the worker is gone, it
//! ends the tree by itself.
//!
//! The tree is the process group (an ssh server gives each command a session, and with it a group) and, where there is
//! `/proc`, whoever bears the attempt's marker in its environment. As on this machine, what is left in the group is ended when
//! the command ends by itself, and who has left it is spared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::process::{ATTEMPT_VARIABLE, Token};

/// What the login shell of the other machine is given: any of them understands it.
pub(super) const ENTRY: &str = "exec /bin/sh";

/// Starts the command.
pub(super) const GO: &str = "go";
/// Sends TERM to the tree.
pub(super) const TERM: &str = "term";
/// Sends KILL to the tree.
pub(super) const KILL: &str = "kill";

/// A command as it is to be run on another machine.
#[derive(Clone, Debug)]
pub(super) struct Remote<'a> {
    pub(super) argv: Vec<&'a str>,
    pub(super) env: BTreeMap<String, String>,
    /// The directory; none is where the ssh server puts its user.
    pub(super) cwd: Option<&'a str>,
    pub(super) marker: &'a str,
    /// Between TERM and KILL when the connection is gone.
    pub(super) grace: Duration,
}

impl Remote<'_> {
    /// The text of the wrapper.
    ///
    /// # Errors
    /// What no process can be started with.
    pub(super) fn script(&self, token: &Token) -> Result<String, &'static str> {
        let has_nul = |text: &str| text.contains('\0');
        match self.argv.first() {
            None => return Err("it names no program"),
            Some(&"") => return Err("the name of the program is empty"),
            Some(name) if name.starts_with('-') => {
                return Err("the name of the program begins with -, which a shell takes for an option");
            }
            Some(_) => {}
        }
        if self.argv.iter().any(|arg| has_nul(arg)) || self.cwd.is_some_and(has_nul) {
            return Err("an argument or the directory holds a NUL");
        }
        if self.env.values().any(|value| has_nul(value)) {
            return Err("an environment variable holds a NUL");
        }
        let marker = format!("{ATTEMPT_VARIABLE}={}", self.marker);
        let cwd = self.cwd.map_or_else(String::new, |cwd| {
            let cwd = quote(cwd);
            format!("cd {cwd} 2>/dev/null || {{ say 'refused cannot enter its directory' >&4; exit 70; }}\n")
        });
        let mut command = String::new();
        for (name, value) in &self.env {
            // Writing into a String cannot fail.
            let _ = writeln!(command, "export {name}={}", quote(value));
        }
        let _ = writeln!(command, "export {}", quote(&marker));
        let argv: Vec<String> = self.argv.iter().map(|arg| quote(arg)).collect();
        let _ = writeln!(command, "exec {}", argv.join(" "));
        Ok(TEMPLATE
            .replace("@TOKEN@", token.printable())
            .replace("@GRACE@", &self.grace.as_secs_f64().ceil().to_string())
            .replace("@MARKER@", &quote(&marker))
            .replace("@CWD@", &cwd)
            // Last, so that nothing in it is taken for a place.
            .replace("@COMMAND@", &command))
    }
}

/// One word of a shell, whatever is in it.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Descriptor 3 is the wrapper's input, 4 the command's standard error. The wrapper's own goes nowhere: shells tell there how
/// their children ended.
const TEMPLATE: &str = r#"{
say() { printf '\036@TOKEN@ %s\n' "$1"; }
exec 3<&0 4>&2 </dev/null 2>/dev/null
group=
if read -r stat </proc/$$/stat; then set -- ${stat##*) }; group=$3; else group=$(ps -o pgid= -p $$ | tr -d ' '); fi
[ "$group" = $$ ] || { say 'refused its ssh server gives commands no process group of their own' >&4; exit 70; }
asked=
trap : TERM INT HUP PIPE
trap asked=1 USR1
say begin
say begin >&4
read -r word <&3 || exit 0
[ "$word" = go ] || exit 0
@CWD@signal() {
for file in $(grep -lsF @MARKER@ /proc/[0-9]*/environ); do
file=${file#/proc/}
kill -s "$1" "${file%/environ}"
done
kill -s "$1" -- -$$
}
(
trap '' TERM INT HUP PIPE USR1
exec >/dev/null
while read -r word; do
case $word in
term) kill -s USR1 $$; signal TERM; signal CONT;;
kill) kill -s USR1 $$; say 'end 137' >&4; signal KILL;;
esac
done <&3
exec 4>&-
kill -s USR1 $$
signal TERM
signal CONT
sleep @GRACE@
signal KILL
) &
watcher=$!
(
exec 2>&4 3<&- 4>&-
@COMMAND@)
code=$?
say "end $code" >&4
exec >/dev/null 3<&- 4>&-
kill -s KILL $watcher
(
trap '' TERM INT HUP PIPE USR1
sleep 1
kill -s TERM -- -$$
sleep 1
[ -z "$asked" ] || signal KILL
kill -s KILL -- -$$
) &
exit $code
}
"#;

#[cfg(test)]
mod tests;
