//! What a column is for, apart from its type.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::ROLE_KEY;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Identifies the row, within its tenant.
    Id,
    /// A dense vector.
    Vector,
    /// A sparse vector.
    SparseVector,
    /// The tenant that the row belongs to.
    Tenant,
    /// The partition that the row lies in.
    Partition,
    /// When the row was made.
    CreatedAt,
    /// When the row was last changed.
    UpdatedAt,
    /// A property of the user's own. Columns without a role are payload.
    Payload,
    /// A reference to other rows.
    Reference,
    /// The source node of an edge.
    SourceId,
    /// The target node of an edge.
    TargetId,
    /// The labels of a node, or the type of an edge.
    Label,
}

impl Role {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Id, "id"),
        (Self::Vector, "vector"),
        (Self::SparseVector, "sparse_vector"),
        (Self::Tenant, "tenant"),
        (Self::Partition, "partition"),
        (Self::CreatedAt, "created_at"),
        (Self::UpdatedAt, "updated_at"),
        (Self::Payload, "payload"),
        (Self::Reference, "reference"),
        (Self::SourceId, "source_id"),
        (Self::TargetId, "target_id"),
        (Self::Label, "label"),
    ];

    /// The name in field metadata, manifests and messages.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("payload", |(_, name)| name)
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(role, _)| *role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The roles of a dataset's columns, keyed by the column's current name.
///
/// They live beside the plan, because expressions and plan serialisation drop field metadata; [`Roles::stamp`] writes
/// them into the stored form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles(BTreeMap<String, Role>);

impl Roles {
    /// The roles that a stored schema carries in its field metadata.
    pub fn of(schema: &Schema) -> Self {
        let stamped = schema.fields().iter().filter_map(|field| {
            let role = Role::parse(field.metadata().get(ROLE_KEY)?)?;
            Some((field.name().clone(), role))
        });
        Self(stamped.collect())
    }

    /// Gives a column a role.
    pub fn set(&mut self, column: impl Into<String>, role: Role) {
        self.0.insert(column.into(), role);
    }

    /// The role of a column; payload where none was given.
    pub fn get(&self, column: &str) -> Role {
        self.0.get(column).copied().unwrap_or(Role::Payload)
    }

    /// The column that has this role, where there is exactly one.
    pub fn column(&self, role: Role) -> Option<&str> {
        let mut having = self.0.iter().filter(|(_, of)| **of == role);
        let first = having.next().map(|(column, _)| column.as_str());
        if having.next().is_some() { None } else { first }
    }

    /// The roles of the columns that `lineage` names: output column -> input column.
    #[must_use]
    pub fn follow(&self, lineage: &BTreeMap<String, String>) -> Self {
        let kept = lineage.iter().filter_map(|(output, input)| Some((output.clone(), *self.0.get(input)?)));
        Self(kept.collect())
    }

    /// The schema with every role in its field's metadata, and with no role that is not in this map.
    pub fn stamp(&self, schema: &Schema) -> SchemaRef {
        let fields = schema.fields().iter().map(|field| {
            let mut metadata = field.metadata().clone();
            match self.0.get(field.name()) {
                Some(role) => metadata.insert(ROLE_KEY.to_owned(), role.as_str().to_owned()),
                None => metadata.remove(ROLE_KEY),
            };
            Field::clone(field).with_metadata(metadata)
        });
        Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()).into()
    }

    /// All columns with a role other than payload.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Role)> {
        self.0.iter().map(|(column, role)| (column.as_str(), *role))
    }
}
