// SPDX-License-Identifier: Apache-2.0
//! What is known of the types in templates: which member is a pointer, a struct, a quantity.
//!
//! Programs in Go read a template into structs. A member that is no pointer loses the difference between
//! absent and zero there, one that is a pointer keeps it; a struct is always written, an empty list never.
//! So whether two templates are equal to such a program, what it writes, and what it hashes follows from a
//! table of the types. The one here is that of Kubernetes 1.31. It describes
//! what was written, so it does not grow with Kubernetes: members that it does not know count as they
//! stand.
//!
//! A loop adds the types of its own kind around the pod template in the same form, see [`Layout::with`].

use std::collections::BTreeMap;

/// The pod template and the Service, with all that they hold.
const CORE_V1: &str = include_str!("core_v1_types.txt");
/// Type of a pod template.
pub const POD_TEMPLATE: &str = "v1.PodTemplateSpec";

/// The types by name.
#[derive(Debug, Clone)]
pub struct Layout {
    types: BTreeMap<&'static str, Vec<Field>>,
}

/// A field of a struct.
#[derive(Debug, Clone)]
pub struct Field {
    /// Name in Go.
    pub go_name: &'static str,
    /// Name in JSON. `None`: an embedded struct whose members stand in its parent.
    pub json_name: Option<&'static str>,
    /// Type in Go.
    pub go_type: &'static str,
    /// A value that counts as absent beside zero.
    pub default: Option<&'static str>,
    /// Whether it is written although it is empty. Structs are in any case.
    pub always: bool,
}

/// What a type is.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// Absent and zero differ.
    Pointer(&'static str),
    /// Elements of this type.
    List(&'static str),
    /// Values of this type by text.
    Map(&'static str),
    /// Fields.
    Struct(&'a [Field]),
    /// A number with a suffix, compared by value.
    Quantity,
    /// A number or text.
    IntOrString,
    /// A point in time. Templates have none but the creation time that Go writes as null.
    Time,
    /// True or false.
    Bool,
    /// A whole number.
    Integer,
    /// Text, under whatever name of a type.
    Text,
}

impl Layout {
    /// Pod templates and Services. Reading the table takes a while: a process does it once.
    pub fn core() -> Self {
        let mut layout = Self { types: BTreeMap::new() };
        layout.read(CORE_V1);
        layout
    }

    /// These types and further ones, in the form of the table:
    /// ```text
    /// ray.HeadGroupSpec
    ///  ServiceType serviceType string
    ///  Template template v1.PodTemplateSpec
    /// ```
    /// A line without indentation begins a type; the others are fields: name in Go, name in JSON (`-` for
    /// an embedded struct without one), type in Go, `=value` right behind the type for a default that
    /// counts as absent, and ` !` for a field that is written although it is empty. Lines after `#` are
    /// comments; lines that are not complete are left out.
    #[must_use]
    pub fn with(mut self, types: &'static str) -> Self {
        self.read(types);
        self
    }

    fn read(&mut self, types: &'static str) {
        let mut current = "";
        for line in types.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            match line.strip_prefix(' ') {
                None => {
                    current = line.trim_end();
                    self.types.insert(current, Vec::new());
                }
                Some(field) => {
                    if let (Some(field), Some(fields)) = (parse_field(field), self.types.get_mut(current)) {
                        fields.push(field);
                    }
                }
            }
        }
    }

    /// What the type of this name is. An unknown name is that of a kind of text.
    pub fn shape(&self, go_type: &'static str) -> Shape<'_> {
        if let Some(target) = go_type.strip_prefix('*') {
            return Shape::Pointer(target);
        }
        if let Some(element) = go_type.strip_prefix("[]") {
            return Shape::List(element);
        }
        if let Some((_, value)) = go_type.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
            return Shape::Map(value);
        }
        match go_type {
            "v1.ResourceList" => Shape::Map("resource.Quantity"),
            "resource.Quantity" => Shape::Quantity,
            "intstr.IntOrString" => Shape::IntOrString,
            "v1.Time" => Shape::Time,
            "bool" => Shape::Bool,
            "int32" | "int64" => Shape::Integer,
            name => self.types.get(name).map_or(Shape::Text, |fields| Shape::Struct(fields)),
        }
    }

    /// The members of a struct as they stand in JSON: those of embedded structs among their parent's.
    pub fn members<'a>(&'a self, fields: &'a [Field]) -> Vec<(&'static str, &'a Field)> {
        let mut members = Vec::with_capacity(fields.len());
        for field in fields {
            match (field.json_name, self.shape(field.go_type)) {
                (Some(name), _) => members.push((name, field)),
                (None, Shape::Struct(embedded)) => members.extend(self.members(embedded)),
                (None, _) => {}
            }
        }
        members
    }
}

fn parse_field(line: &'static str) -> Option<Field> {
    let mut words = line.split(' ');
    let (go_name, json_name, go_type) = (words.next()?, words.next()?, words.next()?);
    let (go_type, default) =
        go_type.split_once('=').map_or((go_type, None), |(go_type, default)| (go_type, Some(default)));
    Some(Field {
        go_name,
        json_name: (json_name != "-").then_some(json_name),
        go_type,
        default,
        always: words.next() == Some("!"),
    })
}
