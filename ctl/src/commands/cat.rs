//! `fleetctl cat`: a unit's file.

use serde_json::{Value, json};
use unitfile::{UnitFile, UnitName, UnitOption};

use crate::error::{CommandError, Kind};
use crate::format::{self, FormatArgs};
use crate::selection::{Scope, expand_strictly};
use crate::session::Session;
use crate::sources;

/// Output the contents of a submitted unit, byte for byte.
///
/// If a pattern matches several units, each file has its name above it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One unit, or one quoted pattern such as 'web@*'
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Prints the unit's file and nothing else.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    if args.units.len() != 1 {
        return Err(CommandError::new(
            Kind::Usage,
            "One unit file must be provided",
        ));
    }
    let context = "Error retrieving units";
    let units = expand_strictly(session, context, &args.units, Scope::All).await?;
    let named = sources::names(&units, session.output)?.into_iter();
    let names: Vec<UnitName> = named.map(|asked| asked.name).collect();
    match args.format.format.language() {
        None => print(session, &names).await,
        Some(language) => {
            let mut list = Vec::new();
            for name in &names {
                list.push(value(name, &file(session, name).await?));
            }
            format::write(&Value::Array(list), language, session.output)
        }
    }
}

async fn print(session: &mut Session<'_>, names: &[UnitName]) -> Result<(), CommandError> {
    if let [name] = names {
        let bytes = file(session, name).await?;
        return session.output.bytes(&bytes);
    }
    for (index, name) in names.iter().enumerate() {
        let bytes = file(session, name).await?;
        if index > 0 {
            session.output.line("")?;
        }
        session.output.line(&format!("# {name}"))?;
        session.output.bytes(&bytes)?;
        if !bytes.ends_with(b"\n") {
            session.output.line("")?;
        }
    }
    Ok(())
}

async fn file(session: &mut Session<'_>, name: &UnitName) -> Result<Vec<u8>, CommandError> {
    session.debug(&format!("file of {name}"));
    let file = session.client.unit_file(name).await;
    let file = file
        .map_err(|error| CommandError::request(format!("Error retrieving Unit {name}"), error))?;
    file.ok_or_else(|| CommandError::new(Kind::Outcome, format!("Unit {name} not found")))
}

/// A unit's file in a document. What cannot be read as a unit file has a content, and neither hash nor options.
fn value(name: &UnitName, bytes: &[u8]) -> Value {
    let option = |option: &UnitOption| json!({"section": option.section, "name": option.name, "value": option.value});
    let (hash, options) = match UnitFile::from_bytes(bytes) {
        Ok(file) => {
            let options = file.options().iter().map(option).collect();
            (Value::from(file.hash().to_string()), Value::Array(options))
        }
        Err(_unreadable) => (Value::Null, Value::Null),
    };
    json!({
        "unit": name.as_str(),
        "hash": hash,
        "content": String::from_utf8_lossy(bytes),
        "options": options,
    })
}
