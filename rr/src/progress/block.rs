//! The block that is redrawn on a terminal: slots, jobs with bars, failed hosts.
//!
//! Invariant: it is never wider or higher than the terminal, however small that is.

use jiff::Timestamp;
use rr_schemas::{
    decision::JobStatus,
    view::{JobView, RunView},
};

use super::story::{JobStory, Story};
use crate::printer::{BAD, DIM, GOOD, Size, WARN};
use crate::text::{Line, between, duration_words, job_style, run_style};

/// Below this width bars are left out.
const BAR_FROM_WIDTH: usize = 40;
/// Hosts in trouble that are folded and named: they must fit into a line, many times a second.
const NAMED_MAX: usize = 200;
/// Widest column of job names.
const NAME_WIDTH_MAX: usize = 24;

/// The lines to draw.
pub(crate) fn block(story: &Story, size: Size, now: Timestamp) -> Vec<String> {
    // One column stays free: a full line would wrap on some terminals.
    let width = size.width.saturating_sub(1).max(1);
    let room = size.height.saturating_sub(2).max(1);
    let view = story.outline();
    let mut lines = vec![heading(&view, now)];
    let shown = choose(&view, room.saturating_sub(1));
    let names = shown.iter().filter_map(|index| view.jobs.get(*index)).map(|job| job.job.as_str().len()).max();
    let name_width = names.unwrap_or(0).min(NAME_WIDTH_MAX);
    let mut slot = None;
    for index in &shown {
        let Some(job) = view.jobs.get(*index) else { continue };
        if job.slot.is_some() && job.slot != slot {
            slot = job.slot;
            lines.push(Line::new().styled(DIM, format!("slot {}", slot.unwrap_or_default())));
        }
        lines.push(job_line(story, job, story.jobs().get(*index), name_width, width));
    }
    let hidden = view.jobs.len() - shown.len();
    if hidden > 0 {
        lines.push(Line::new().styled(DIM, format!("and {hidden} more jobs")));
    }
    lines.truncate(room);
    lines.iter().map(|line| line.fit(width)).collect()
}

fn heading(view: &RunView, now: Timestamp) -> Line {
    let flow = view.flow.as_ref().map_or("run", |flow| flow.as_str());
    let line = Line::new().plain(format!("{flow} {} ", view.run)).styled(run_style(view.status), view.status.word());
    match view.started_at {
        Some(since) => {
            let until = view.ended_at.unwrap_or(now);
            line.styled(DIM, format!(" {}", duration_words(between(since, until))))
        }
        None => line,
    }
}

/// Which jobs to show in `room` lines, in the order of the flow: all if they fit, else those under way first, then the
/// failed ones, then what comes next.
fn choose(view: &RunView, room: usize) -> Vec<usize> {
    let slots =
        view.jobs.chunk_by(|a, b| a.slot == b.slot).filter(|jobs| jobs.iter().any(|job| job.slot.is_some())).count();
    if view.jobs.len() + slots <= room {
        return (0..view.jobs.len()).collect();
    }
    let rank = |job: &JobView| match job.status {
        JobStatus::Running => 0,
        JobStatus::Failed => 1,
        JobStatus::Waiting => 2,
        JobStatus::Cancelled | JobStatus::Succeeded | JobStatus::Skipped => 3,
    };
    let mut order: Vec<(u8, usize)> = view.jobs.iter().enumerate().map(|(index, job)| (rank(job), index)).collect();
    order.sort_unstable();
    // Half of the lines may be headings of slots in the worst case.
    let n = if slots == 0 { room.saturating_sub(1) } else { room / 2 };
    let mut shown: Vec<usize> = order.into_iter().take(n).map(|(_, index)| index).collect();
    shown.sort_unstable();
    shown
}

fn job_line(story: &Story, job: &JobView, extra: Option<&JobStory>, name_width: usize, width: usize) -> Line {
    let name: String = job.job.as_str().chars().take(name_width).collect();
    let indent = if job.slot.is_some() { "  " } else { "" };
    let mut line = Line::new().plain(format!("{indent}{name:<name_width$}  "));
    if width >= BAR_FROM_WIDTH {
        line = bar(line, job, if width >= 72 { 20 } else { 10 });
    }
    line = match job.status {
        JobStatus::Running => {
            let unit = if width >= BAR_FROM_WIDTH { " ok/needed/total" } else { "" };
            line.plain(format!("{}/{}/{}{unit}", job.ok, job.needed, job.targets))
        }
        JobStatus::Waiting | JobStatus::Succeeded | JobStatus::Failed | JobStatus::Skipped | JobStatus::Cancelled => {
            line.styled(job_style(job.status), job.status.word())
                .plain(format!(" {}/{}/{}", job.ok, job.needed, job.targets))
        }
    };
    let Some(trouble) = extra.map(|extra| &extra.trouble).filter(|trouble| !trouble.is_empty()) else { return line };
    let places = story.places(trouble.keys().copied().take(NAMED_MAX));
    let more = trouble.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    line.styled(BAD, format!("  failed: {places}{more}"))
}

/// `[####xx----]`: succeeded, otherwise over, still to come.
fn bar(line: Line, job: &JobView, cells: u32) -> Line {
    let share = |n: u32| u64::from(n) * u64::from(cells) / u64::from(job.targets.max(1));
    let repeat = |mark: &str, n: u64| mark.repeat(usize::try_from(n).unwrap_or(0));
    let ok = share(job.ok);
    // The two shares are rounded together, so that a full bar is full.
    let over = share(job.ok + job.failed + job.unreachable) - ok;
    let rest = u64::from(cells).saturating_sub(ok + over);
    line.plain("[")
        .styled(GOOD, repeat("#", ok))
        .styled(WARN, repeat("x", over))
        .styled(DIM, repeat("-", rest))
        .plain("] ")
}
