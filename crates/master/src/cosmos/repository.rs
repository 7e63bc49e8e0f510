//! The repositories: there is one, built in, and none can be added or removed.

use serde_json::{Value, json};
use zddcluster_model::package::SOURCE;

use super::error::CosmosError;
use super::fields::Fields;

/// What the original calls the repository that it has from the start.
const NAME: &str = "Universe";

pub(super) fn list() -> Value {
    json!({ "repositories": [{ "name": NAME, "uri": SOURCE }] })
}

pub(super) fn add(fields: &Fields) -> Result<Value, CosmosError> {
    fields.required("name")?;
    fields.required("uri")?;
    fields.number("index")?;
    Err(CosmosError::RepositoryIsBuiltIn)
}

pub(super) fn delete(fields: &Fields) -> Result<Value, CosmosError> {
    if fields.text("name")?.or(fields.text("uri")?).is_none() {
        return Err(CosmosError::NotParsed(
            "The fields 'name' and 'uri' are missing; one of them is wanted".to_owned(),
        ));
    }
    Err(CosmosError::RepositoryIsBuiltIn)
}
