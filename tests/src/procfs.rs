//! What `/proc` knows of the processes that a sandbox started, whoever their parent is by now.

use std::fs;
use std::path::Path;

/// A process that lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Its id.
    pub pid: u32,
    /// Its command line, with blanks between the arguments.
    pub command: String,
}

/// Every living process that stems from this directory: started with it in its environment, named in its command
/// line, or at work below it. A process that has ended and was not waited for yet does not count.
pub fn stemming_from(dir: &Path) -> Vec<Found> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id()).filter_map(|pid| stems_from(pid, dir)).collect()
}

fn stems_from(pid: u32, dir: &Path) -> Option<Found> {
    let proc = Path::new("/proc").join(pid.to_string());
    let text = dir.to_str()?;
    let command = fs::read(proc.join("cmdline")).ok().filter(|command| !command.is_empty())?;
    let names = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let is_ours = names(&command)
        || fs::read(proc.join("environ")).is_ok_and(|environ| names(&environ))
        || fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    is_ours.then(|| Found { pid, command: command.trim_end().to_owned() })
}

/// Whether the process lives.
pub fn is_alive(pid: u32) -> bool {
    // One that has ended and was not waited for has no command line any more.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty())
}

/// The most memory that the process ever had resident, in bytes.
pub fn peak_resident(pid: u32) -> Option<u64> {
    bytes_of(pid, "VmHWM:")
}

/// The memory that the process has resident now, in bytes: its own, and pages of files that others may share.
pub fn resident(pid: u32) -> Option<u64> {
    bytes_of(pid, "VmRSS:")
}

/// The memory that the process has resident now and shares with nobody's files, in bytes: stacks and heap.
pub fn resident_anonymous(pid: u32) -> Option<u64> {
    bytes_of(pid, "RssAnon:")
}

/// A line of what the system says of the memory of a process.
fn bytes_of(pid: u32, what: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The time that the process has spent on a processor, in ticks of which there are a hundred in a second.
pub fn processor_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold blanks; it ends with the last bracket, and 11 fields follow before the times.
    let mut times = stat.rsplit(')').next()?.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}
