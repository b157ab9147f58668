//! Host expressions. A set knows how many hosts it has, has no more than it may, and is read again from what it says.

use rr_schemas::host::{ExprError, HOSTS_MAX, Host, HostSet};

use super::{Answer, demand, text};

/// Hosts that are looked at one by one; more would only take longer.
const LOOKED_AT: u32 = 2_000;

pub(super) fn feed(input: &[u8]) -> Result<Vec<Answer>, String> {
    let text = text(input);
    let set: HostSet = match text.parse() {
        Ok(set) => set,
        Err(error) => {
            let error: ExprError = error;
            let columns = text.chars().count() + 1;
            demand(error.column() <= columns, || format!("column {} of {columns}", error.column()))?;
            return Ok(vec![Answer::refused("hosts", &error.to_string())]);
        }
    };
    demand((1..=HOSTS_MAX).contains(&set.len()), || format!("{} hosts", set.len()))?;
    let said = set.to_string();
    let again: HostSet = said.parse().map_err(|error| format!("{said:?} is not read again: {error}"))?;
    demand(again == set, || format!("{said:?} is another set"))?;
    let (merged, n_duplicates) = set.merged();
    demand(merged.len() + n_duplicates == set.len(), || format!("{} of {} are left", merged.len(), set.len()))?;
    for (index, host) in (0..set.len().min(LOOKED_AT)).zip(set.iter()) {
        demand(set.nth(index).as_ref() == Some(&host), || format!("host {index} is {host} and is not"))?;
        demand(set.contains(&host), || format!("{host} is not contained"))?;
        let token = host.to_token();
        demand(Host::from_token(&token).as_ref() == Ok(&host), || format!("token {token} is another host"))?;
        let is_plain = token.chars().all(|char| !matches!(char, '.' | '*' | '>') && !char.is_whitespace());
        demand(is_plain && !token.is_empty(), || format!("token {token:?} is none"))?;
    }
    demand(set.nth(set.len()).is_none(), || "a host behind the last one".to_owned())?;
    let kind = if n_duplicates > 0 { "hosts twice" } else { "hosts" };
    Ok(vec![Answer::read(kind)])
}
