// SPDX-License-Identifier: Apache-2.0

use super::layout::{Layout, POD_TEMPLATE, Shape};

const TYPES: &str = "# comment
x.Outer
 Inner - x.Inner
 Mode mode string=Plain
 Count count *int32 !
 incomplete
x.Inner
 Name name string
";

#[test]
fn table_says_name_type_default_and_what_is_always_written() {
    let layout = Layout::core().with(TYPES);
    let Shape::Struct(fields) = layout.shape("x.Outer") else { panic!("no struct") };
    let members = layout.members(fields);
    let names: Vec<_> = members.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["name", "mode", "count"], "embedded members stand in their parent");
    let facts: Vec<_> =
        members.iter().map(|(_, field)| (field.go_type, field.default, field.always)).collect();
    assert_eq!(facts, [("string", None, false), ("string", Some("Plain"), false), ("*int32", None, true)]);
}

#[test]
fn types_are_told_apart() {
    let layout = Layout::core();
    assert!(matches!(layout.shape("*int64"), Shape::Pointer("int64")));
    assert!(matches!(layout.shape("[]v1.Container"), Shape::List("v1.Container")));
    assert!(matches!(layout.shape("map[string]string"), Shape::Map("string")));
    assert!(matches!(layout.shape("v1.ResourceList"), Shape::Map("resource.Quantity")));
    assert!(matches!(layout.shape("v1.PullPolicy"), Shape::Text));
    assert!(matches!(layout.shape("int32"), Shape::Integer));
}

/// The types that are text, and the managed fields, which no template has.
const TEXTS: &str = "
v1.ManagedFieldsEntry string types.UID v1.AppArmorProfileType v1.AzureDataDiskCachingMode
v1.AzureDataDiskKind v1.Capability v1.ConditionStatus v1.ContainerRestartPolicy v1.DNSPolicy
v1.HostPathType v1.IPFamily v1.IPFamilyPolicy v1.LabelSelectorOperator v1.LoadBalancerIPMode
v1.MountPropagationMode v1.NodeInclusionPolicy v1.NodeSelectorOperator v1.OSName
v1.PersistentVolumeAccessMode v1.PersistentVolumeMode v1.PodConditionType v1.PodFSGroupChangePolicy
v1.PreemptionPolicy v1.ProcMountType v1.Protocol v1.PullPolicy v1.RecursiveReadOnlyMode
v1.ResourceName v1.ResourceResizeRestartPolicy v1.RestartPolicy v1.SeccompProfileType
v1.ServiceAffinity v1.ServiceExternalTrafficPolicy v1.ServiceInternalTrafficPolicy v1.ServiceType
v1.StorageMedium v1.SupplementalGroupsPolicy v1.TaintEffect v1.TerminationMessagePolicy
v1.TolerationOperator v1.URIScheme v1.UnsatisfiableConstraintAction
";

/// A type that is missing from the table would silently count as text.
#[test]
fn every_type_that_a_field_names_is_known() {
    let layout = Layout::core()
        .with(include_str!("testdata/role_set_types.txt"))
        .with(include_str!("testdata/ray_cluster_types.txt"));
    let mut open = vec![POD_TEMPLATE, "v1.Service", "aibrix.RoleSetTemplate", "ray.RayClusterTemplate"];
    let mut texts = std::collections::BTreeSet::new();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(go_type) = open.pop() {
        if !seen.insert(go_type) {
            continue;
        }
        match layout.shape(go_type) {
            Shape::Pointer(inner) | Shape::List(inner) | Shape::Map(inner) => open.push(inner),
            Shape::Struct(fields) => open.extend(fields.iter().map(|field| field.go_type)),
            Shape::Text => drop(texts.insert(go_type)),
            Shape::Quantity | Shape::IntOrString | Shape::Time | Shape::Bool | Shape::Integer => {}
        }
    }
    let texts: Vec<_> = texts.into_iter().collect();
    let mut known: Vec<_> = TEXTS.split_whitespace().collect();
    known.sort_unstable();
    assert_eq!(texts, known);
    assert!(seen.len() > 150, "the walk has to reach the whole table");
}
