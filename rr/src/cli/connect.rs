//! Flags that say which mesh is meant and who logs in there. A password has none: arguments are no secret.

use std::path::PathBuf;

use clap::Args;

const HEADING: &str = "Mesh options";

/// Which mesh, and who logs in there.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct MeshArgs {
    /// Mesh to talk to, as `nats://host:port` or `tls://…`, several with commas; `user:password@` is better in `RR_SERVER`
    #[arg(long, global = true, value_name = "URL", help_heading = HEADING)]
    pub(crate) server: Option<String>,
    /// Context of the NATS CLI that describes the mesh
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) context: Option<String>,
    /// Credentials file, readable by its owner only
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) creds: Option<PathBuf>,
    /// File with the seed of a user's nkey, readable by its owner only
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) nkey: Option<PathBuf>,
    /// Certificates of the authorities to trust instead of the system's
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Client certificate
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Key of the client certificate, readable by its owner only
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) tls_key: Option<PathBuf>,
    /// The server speaks TLS from the first byte (`handshake_first`)
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING)]
    pub(crate) tls_first: bool,
    /// Where answers come, where permissions give each user its own: `_INBOX_w1`
    #[arg(long, global = true, hide_short_help = true, value_name = "PREFIX", help_heading = HEADING)]
    pub(crate) inbox_prefix: Option<String>,
    /// JetStream domain of the mesh, behind a leaf node
    #[arg(long, global = true, hide_short_help = true, value_name = "DOMAIN", help_heading = HEADING)]
    pub(crate) js_domain: Option<String>,
}
