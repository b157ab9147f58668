//! `rr init`: makes a mesh, or writes who may do what in it.

mod auth;

use rr_nats::Part;
use serde::Serialize;

use super::coordinator::{self, PARTITIONS};
use crate::cli::InitArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh::Place;

#[derive(Debug, Serialize)]
struct Made<'a> {
    partitions: u16,
    parts: &'a [Part],
}

/// Makes what is missing of a mesh.
pub(crate) async fn init(ctx: &Context, args: &InitArgs) -> Result<Exit, CliError> {
    let mut topology = ctx.config.mesh.topology(PARTITIONS);
    topology.partitions = args.partitions.unwrap_or(topology.partitions);
    topology.replicas = args.replicas.map(usize::from).or(topology.replicas);
    if let Some(dir) = &args.out {
        return auth::write(ctx, dir, &args.roles, &topology);
    }
    let link = Place::need(ctx)?.link("init").await?;
    let (mesh, parts) = coordinator::make(&link, &topology).await?;
    if ctx.printer.is_json() {
        ctx.printer.json_document(&Made { partitions: mesh.partitions(), parts: &parts })?;
    } else {
        for Part { name, made } in &parts {
            ctx.printer.line(format_args!("{} {name}", if *made { "made " } else { "there" }))?;
        }
    }
    if mesh.partitions() != topology.partitions {
        let (there, wanted) = (mesh.partitions(), topology.partitions);
        ctx.printer.warn(format_args!("the mesh has {there} partitions, not {wanted}: that is fixed when it is made"));
    }
    mesh.drain().await;
    Ok(Exit::Succeeded)
}
