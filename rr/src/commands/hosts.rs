//! `rr hosts expand`: the hosts of an expression.

use rr_schemas::host::{Host, HostSet, fold};

use crate::cli::{HostsArgs, HostsVerb};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// Prints the hosts of expressions.
pub(crate) fn hosts(ctx: &Context, args: HostsArgs) -> Result<Exit, CliError> {
    match args.verb {
        HostsVerb::Expand { exprs, count, fold: folded } => {
            let hosts = expand(&exprs)?;
            if ctx.printer.is_json() {
                ctx.printer.json_document(&hosts.iter().map(Host::as_str).collect::<Vec<_>>())?;
            } else if count {
                ctx.printer.line(hosts.len())?;
            } else if folded {
                ctx.printer.line(fold(&hosts))?;
            } else {
                let hosts: Vec<&str> = hosts.iter().map(Host::as_str).collect();
                ctx.printer.line(hosts.join("\n"))?;
            }
            Ok(Exit::Succeeded)
        }
    }
}

/// The hosts of expressions, each once. All that is wrong is told at once.
pub(crate) fn expand(exprs: &[String]) -> Result<Vec<Host>, CliError> {
    let mut sets = Vec::new();
    let mut wrong = Vec::new();
    for expr in exprs {
        match expr.parse::<HostSet>() {
            Ok(set) => sets.push(set),
            Err(error) => {
                wrong.push(format!("host expression {:?}: {error}", expr.chars().take(80).collect::<String>()));
            }
        }
    }
    if !wrong.is_empty() {
        return Err(CliError::new(Exit::BadInput, wrong.join("; ")));
    }
    let all = HostSet::concat(sets).map_err(|error| CliError::new(Exit::BadInput, error.message()))?;
    Ok(all.merged().0.iter().collect())
}
