//! The columns of a class: `schemas/records.md` applied to Weaviate.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use restow_core::record::{Role, Roles, TEXT_PREFIX, json_field, list_item, vector_type};

use super::class::{Class, Kind, Property, VectorIndex};

/// The id of an object.
pub const ID: &str = "id";
/// The tenant of an object, in classes that have tenants.
pub const TENANT: &str = "_tenant";
/// When an object was made, by its server.
pub const CREATED: &str = "_creation_time";
/// When an object was last written, by its server.
pub const UPDATED: &str = "_update_time";
/// The vector of a class without named vectors; with `_NAME` behind it, the vector NAME.
pub const VECTOR: &str = "_vector";

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Id,
    Tenant,
    Created,
    Updated,
    /// A property.
    Property(Property),
    /// The exact text of a date, where the moment does not print as it.
    DateText(String),
    Vector(VectorIndex, Shape),
}

/// What is known of the length of vectors. The server does not say it: it is found in objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All have this length.
    Fixed(i32),
    /// There was none to look at, or they differ (indexes that are skipped, tenants).
    Varying,
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// What it holds.
    pub content: Content,
    /// Its field, roles not yet stamped.
    pub field: Field,
}

/// The columns of a class, in their order: id, tenant, times, properties, vectors, texts of dates. `shapes` are those of the
/// vectors, in their order.
pub fn columns_of(class: &Class, shapes: &[Shape]) -> Vec<Column> {
    let mut columns = vec![uuid_column(ID, Content::Id)];
    let free = |name: &str| free_name(class, name);
    if class.has_tenants {
        columns.push(Column { content: Content::Tenant, field: Field::new(free(TENANT), DataType::Utf8, true) });
    }
    let millis = || DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    columns.push(Column { content: Content::Created, field: Field::new(free(CREATED), millis(), true) });
    columns.push(Column { content: Content::Updated, field: Field::new(free(UPDATED), millis(), true) });
    columns.extend(class.properties.iter().map(property_column));
    for (vector, shape) in class.vectors.iter().zip(shapes) {
        let name = free(&vector_column(vector.name.as_deref()));
        let field = Field::new(name, vector_data(vector.multi, *shape), true);
        columns.push(Column { content: Content::Vector(vector.clone(), *shape), field });
    }
    for property in class.properties.iter().filter(|property| property.kind == Kind::Date) {
        let field = Field::new(format!("{TEXT_PREFIX}{}", property.name), DataType::Utf8, true);
        columns.push(Column { content: Content::DateText(property.name.clone()), field });
    }
    columns
}

/// The name of a vector's column.
pub fn vector_column(name: Option<&str>) -> String {
    name.map_or_else(|| VECTOR.to_owned(), |name| format!("{VECTOR}_{name}"))
}

/// The schema of columns, with the roles.
pub fn schema_of(columns: &[Column]) -> (SchemaRef, Roles) {
    let mut roles = Roles::default();
    for column in columns {
        let role = match &column.content {
            Content::Id => Role::Id,
            Content::Tenant => Role::Tenant,
            Content::Created => Role::CreatedAt,
            Content::Updated => Role::UpdatedAt,
            Content::Vector(..) => Role::Vector,
            Content::Property(Property { kind: Kind::Reference, .. }) => Role::Reference,
            Content::Property(_) | Content::DateText(_) => continue,
        };
        roles.set(column.field.name().clone(), role);
    }
    let fields: Vec<Field> = columns.iter().map(|column| column.field.clone()).collect();
    (roles.stamp(&Schema::new(fields)), roles)
}

/// A name of restow's own for a column; underscores are put before it until no property has it.
fn free_name(class: &Class, name: &str) -> String {
    let mut free = name.to_owned();
    while class.properties.iter().any(|property| property.name == free) {
        free.insert(0, '_');
    }
    free
}

fn property_column(property: &Property) -> Column {
    let name = property.name.as_str();
    let list = |data_type: DataType| DataType::List(Arc::new(list_item(data_type)));
    let content = Content::Property(property.clone());
    let data_type = match property.kind {
        Kind::Text => DataType::Utf8,
        Kind::Uuid => return uuid_column(name, content),
        Kind::Json | Kind::Reference => return Column { content, field: json_field(name) },
        Kind::Int => DataType::Int64,
        Kind::Number => DataType::Float64,
        Kind::Boolean => DataType::Boolean,
        Kind::Date => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Blob => DataType::Binary,
        Kind::Texts | Kind::Dates | Kind::Uuids => list(DataType::Utf8),
        Kind::Ints => list(DataType::Int64),
        Kind::Numbers => list(DataType::Float64),
        Kind::Booleans => list(DataType::Boolean),
    };
    Column { content, field: Field::new(name, data_type, true) }
}

fn uuid_column(name: &str, content: Content) -> Column {
    let metadata = [("restow.form".to_owned(), "uuid".to_owned())].into();
    Column { content, field: Field::new(name, DataType::Utf8, true).with_metadata(metadata) }
}

fn vector_data(multi: bool, shape: Shape) -> DataType {
    let single = match shape {
        Shape::Fixed(length) => vector_type(length),
        Shape::Varying => DataType::List(Arc::new(list_item(DataType::Float32))),
    };
    if multi { DataType::List(Arc::new(list_item(single))) } else { single }
}
