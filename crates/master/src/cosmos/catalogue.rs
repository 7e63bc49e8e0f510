//! What the universe holds: `search`, `describe`, `list-versions`.

use serde_json::{Value, json};
use zddcluster_model::package::{self, Package};

use super::error::CosmosError;
use super::fields::Fields;
use super::media::Version;

/// The package that a request names, in the version it names, if it does.
pub(super) fn find(fields: &Fields) -> Result<Package, CosmosError> {
    let name = fields.required("packageName")?;
    let version = fields.text("packageVersion")?;
    let found = package::find(name).ok_or_else(|| CosmosError::PackageNotFound {
        package_name: name.to_owned(),
    })?;
    match version {
        // One version of each package is built in.
        Some(version) if version != found.version => Err(CosmosError::VersionNotFound {
            package_name: name.to_owned(),
            package_version: version.to_owned(),
        }),
        Some(_) | None => Ok(found),
    }
}

pub(super) fn describe(fields: &Fields, version: Version) -> Result<Value, CosmosError> {
    let package = find(fields)?;
    let definition = package.definition();
    if version == Version::V1 {
        return Ok(json!({
            "package": definition,
            "marathonMustache": package.template,
            "config": package.config(),
            "resource": package.resource(),
        }));
    }
    let mut whole = definition;
    whole["marathon"] = json!({ "v2AppMustacheTemplate": package.template_base64() });
    whole["config"] = package.config();
    whole["resource"] = package.resource();
    Ok(match version {
        Version::V1 | Version::V2 => whole,
        Version::V3 => json!({ "package": whole }),
    })
}

pub(super) fn list_versions(fields: &Fields) -> Result<Value, CosmosError> {
    // There are no others that could be left out.
    fields.flag("includePackageVersions")?;
    Ok(json!({ "results": versions(&find(fields)?) }))
}

/// Each version with its number in the catalogue, which clients sort by.
fn versions(package: &Package) -> Value {
    json!({ (package.version): package.release.to_string() })
}

pub(super) fn search(fields: &Fields) -> Result<Value, CosmosError> {
    let query = fields.text("query")?.unwrap_or_default();
    let found = package::all().into_iter().filter(|package| {
        let mut texts = [package.name, package.description].into_iter();
        texts.any(|text| holds(text, query)) || package.tags.iter().any(|tag| holds(tag, query))
    });
    let packages = found.map(|package| {
        let definition = package.definition();
        json!({
            "name": package.name,
            "currentVersion": package.version,
            "versions": versions(&package),
            "description": package.description,
            "framework": definition["framework"],
            "tags": package.tags,
            "selected": definition["selected"],
        })
    });
    Ok(json!({ "packages": packages.collect::<Vec<_>>() }))
}

/// Whether the query stands somewhere in the text, in any case; `*` stands for anything.
fn holds(text: &str, query: &str) -> bool {
    let (text, query) = (text.to_lowercase(), query.to_lowercase());
    let mut rest = text.as_str();
    query.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_parts_in_any_case() {
        for (query, is_found) in [
            ("", true),
            ("*", true),
            ("MARATHON", true),
            ("rat*lb", true),
            ("lb*rat", false),
            ("mar*", true),
            ("-lb", true),
            ("lbx", false),
            ("marathon.lb", false),
        ] {
            assert_eq!(holds("marathon-lb", query), is_found, "{query}");
        }
    }
}
