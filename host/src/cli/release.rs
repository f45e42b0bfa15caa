//! `release`: prints what is to be signed.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{EX_USAGE, complain};
use crate::ids::{HandlerId, TenantId};
use crate::release::Subject;

/// What `release` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host release staging/ acme/orders > staging/acme/orders/handler.release
  minisign -Sm staging/acme/orders/handler.release

The second command writes handler.release.minisig beside it. Of a handler without a folder of its own, the file is
<handler>.release. With --tenant it is what lies beside the tenant's handlers, and the file is tenant.release.")]
pub(super) struct ReleaseArgs {
    /// Folder of the handlers
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The handler, as tenant/handler; may be left out where there is only one
    #[arg(value_name = "HANDLER", conflicts_with = "tenant")]
    handler: Option<HandlerId>,
    /// Print what is to be signed of this tenant's tenant.toml and the middleware beside it
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
}

/// Does it.
pub(super) fn run(args: ReleaseArgs) -> anyhow::Result<ExitCode> {
    let of_tenant = args.tenant.map(Subject::Tenant);
    let subject = args.handler.map(Subject::Handler).or(of_tenant);
    match crate::deploy::release(&args.folder, subject) {
        Ok(text) => {
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            for problem in &problems {
                complain(problem);
            }
            Ok(ExitCode::from(EX_USAGE))
        }
    }
}
