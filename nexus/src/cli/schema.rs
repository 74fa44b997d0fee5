//! `nexus schema`: the descriptions of everything that Nexus speaks.

use anyhow::Context as _;
use nexus_core::kind::Kind;
use nexus_core::schema;
use serde_json::Value;

use super::args::SchemaArgs;
use super::print;
use crate::openapi;

pub fn run(args: &SchemaArgs) -> anyhow::Result<()> {
    if args.list {
        return print(&list());
    }
    if args.proto {
        return print(&protos());
    }
    let document = document(args)?;
    print(&serde_json::to_string_pretty(&document)?)
}

fn document(args: &SchemaArgs) -> anyhow::Result<Value> {
    if args.openapi {
        return Ok(openapi::document());
    }
    if args.asyncapi {
        return nexus_wire::asyncapi::document().context("cannot describe the agent protocol");
    }
    Ok(args.kind.map_or_else(schema::standard_event, schema::of_kind))
}

/// The protobuf files, each under its path.
fn protos() -> String {
    let files = nexus_wire::PROTOS.map(|(path, text)| format!("// {path}\n\n{}", text.trim_end()));
    files.join("\n\n")
}

fn list() -> String {
    let documents = [
        ("--asyncapi", "The agent protocol (AsyncAPI 3.0)"),
        ("--openapi", "Webhooks, tokens and the admin API (OpenAPI 3.1)"),
        ("--proto", "The agent protocol and events as protobuf files"),
    ];
    let kinds = Kind::ALL.iter().map(|kind| (kind.name(), kind.description()));
    let all = documents.into_iter().chain(kinds);
    let lines = all.map(|(name, text)| format!("{name:<18}  {text}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_every_kind_and_document() {
        let list = list();
        assert_eq!(list.lines().count(), Kind::ALL.len() + 3);
        assert!(list.contains("NewWorkItem         A task or an issue was created."), "{list}");
    }

    #[test]
    fn the_protobuf_files_are_whole() {
        let protos = protos();
        for (path, _) in nexus_wire::PROTOS {
            assert!(protos.contains(&format!("// {path}\n")), "{path}");
        }
        assert!(
            protos.contains("rpc Connect(stream ClientFrame)") && protos.contains("message StandardEvent {")
        );
    }
}
