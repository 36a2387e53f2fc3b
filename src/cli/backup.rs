//! `synchub backup` and `synchub restore`: call what does the work, and say what was done.

use super::args::CopyArgs;
use super::outcome::Failure;
use super::{Surroundings, calls, settings_with_warnings};
use crate::app::{Contents, Restored};

pub(super) fn back_up(args: &CopyArgs, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let settings = settings_with_warnings(&args.config, surroundings)?;
    let contents = calls::backup(&settings, &args.file)?;
    let (file, held) = (args.file.display(), describe(&contents));
    Ok(writeln!(surroundings.out, "backed up to {file}: {held}, epoch {}", contents.epoch)?)
}

pub(super) fn restore(args: &CopyArgs, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let settings = settings_with_warnings(&args.config, surroundings)?;
    let restored = calls::restore(&settings, &args.file)?;
    let (file, held) = (args.file.display(), describe(&restored.contents));
    writeln!(surroundings.out, "restored {file}: {held}")?;
    writeln!(surroundings.out, "{}", epochs(&restored))?;
    if let Some(replaced) = &restored.replaced {
        let folder = replaced.kept_in.display();
        writeln!(surroundings.out, "the store before is kept in {folder}; remove it when you are sure")?;
    }
    Ok(writeln!(surroundings.out, "start the hub: every device loads everything anew")?)
}

/// The epochs that led to the new one.
fn epochs(restored: &Restored) -> String {
    let new =
        format!("epoch {}, above that of the backup ({})", restored.contents.epoch, restored.backup_epoch);
    match &restored.replaced {
        None => new,
        Some(replaced) => match replaced.epoch {
            Some(epoch) => format!("{new} and that of the store before ({epoch})"),
            None => format!(
                "{new}; the store before could not be read: should it have been in a later epoch, the first \
                 device that knows more makes the hub begin another one"
            ),
        },
    }
}

fn describe(contents: &Contents) -> String {
    let Contents { tenants, records, head, bytes, .. } = contents;
    let (tenants, records) = (count(*tenants, "tenant"), count(*records, "record"));
    format!("{tenants}, {records}, the longest log up to place {head}, {bytes} bytes")
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
