// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use super::{
    super::reconciler::Key,
    plan::{CatchUp, Listed, View},
};

#[derive(Default)]
struct Held {
    objects: BTreeMap<Key, String>,
    observed: Option<String>,
}

impl View for Held {
    fn version_of(&self, key: &Key) -> Option<&str> {
        self.objects.get(key).map(String::as_str)
    }

    fn versions(&self) -> Box<dyn Iterator<Item = (&str, &str, &str)> + '_> {
        Box::new(self.objects.iter().map(|(key, held)| (&*key.namespace, &*key.name, &**held)))
    }

    fn observed(&self) -> Option<&str> {
        self.observed.as_deref()
    }
}

fn objects(of: &[(&str, &str)]) -> BTreeMap<Key, String> {
    of.iter().map(|(name, version)| (Key::new("ns", *name), (*version).to_owned())).collect()
}

fn listed(version: &str, of: &[(&str, &str)]) -> Listed {
    Listed { version: version.to_owned(), objects: objects(of) }
}

fn held(of: &[(&str, &str)]) -> Held {
    Held { objects: objects(of), observed: None }
}

#[test]
fn store_is_behind_exactly_where_it_shows_less_than_the_list() {
    let cases = [
        (held(&[]), listed("10", &[]), 0, "nothing anywhere"),
        (held(&[("a", "5")]), listed("10", &[("a", "5")]), 0, "same version"),
        (held(&[("a", "11")]), listed("10", &[("a", "5")]), 0, "later version"),
        (held(&[("a", "9")]), listed("10", &[("a", "10")]), 1, "earlier version, though larger as text"),
        (held(&[]), listed("10", &[("a", "5")]), 1, "missing object"),
        (held(&[("a", "5")]), listed("10", &[]), 1, "deleted object that is still held"),
        (held(&[("a", "11")]), listed("10", &[]), 0, "created after the list"),
        (held(&[("a", "x")]), listed("10", &[("a", "y")]), 1, "versions that are no numbers differ"),
        (held(&[("a", "x")]), listed("y", &[]), 1, "unlisted and incomparable"),
    ];
    for (view, list, want, why) in cases {
        assert_eq!(CatchUp::of(&list, &view).behind(), want, "{why}");
    }
}

#[test]
fn a_watch_that_has_passed_the_list_has_caught_up_whatever_is_missing() {
    let list = listed("10", &[("a", "5"), ("b", "6")]);
    let mut view = held(&[("a", "5")]);
    let mut catch_up = CatchUp::of(&list, &view);
    assert_eq!(catch_up.behind(), 1);
    view.observed = Some("9".to_owned());
    catch_up.recheck(&view);
    assert!(!catch_up.is_done());
    view.observed = Some("12".to_owned()); // b came and went
    catch_up.recheck(&view);
    assert!(catch_up.is_done());
    assert!(CatchUp::of(&list, &view).is_done());
}

#[test]
fn looking_again_settles_what_has_arrived_or_gone() {
    let list = listed("10", &[("a", "8"), ("b", "9")]);
    let mut view = held(&[("a", "3"), ("old", "2")]);
    let mut catch_up = CatchUp::of(&list, &view);
    assert_eq!(catch_up.behind(), 3);
    view.objects = objects(&[("a", "8"), ("old", "2")]);
    catch_up.recheck(&view);
    assert_eq!(catch_up.behind(), 2);
    view.objects = objects(&[("a", "8"), ("b", "15")]);
    catch_up.recheck(&view);
    assert!(catch_up.is_done());
}
