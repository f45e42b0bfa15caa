//! What components of a tenant may import beyond the host's own interfaces.
//!
//! Handed the names of a component's imports, tells those that are not allowed.
//! **Invariant:** what a list leaves out is not allowed; where there is no list, all is that the host offers.

use crate::grants::listed;
use crate::route::Matcher;

/// What the names of the host's own interfaces begin with: they give nothing that a handler does not have anyway.
const OWN: [&str; 3] = ["kafka:handler/", "wasi:logging/", "wasi:config/"];

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MayImport(Option<Vec<Matcher>>);

impl MayImport {
    /// Takes the list of a tenant's file, if it has one.
    pub fn new(list: Option<Vec<Matcher>>) -> Self {
        Self(list)
    }

    /// Says which of these imports are not allowed, if any of them is not.
    pub fn refusal<'a>(&self, imports: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let list = self.0.as_ref()?;
        let imports = imports.into_iter();
        let refused: Vec<&str> = imports.filter(|it| !is_allowed(list, it)).collect();
        let package = package(refused.first()?);
        Some(format!(
            "the component imports {}, which the tenant may not: imports has {} (add {package:?} there, or build the component \
             without it)",
            refused.join(", "),
            listed(list),
        ))
    }

    /// Lists what is allowed; nothing where that is all.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let list = self.0.iter().flatten();
        list.map(|it| format!("imports {it}"))
    }
}

/// A glob may stand for a package, for an interface of any version, or for an interface of one.
fn is_allowed(list: &[Matcher], import: &str) -> bool {
    let unversioned = import.split('@').next().unwrap_or(import);
    let names = [package(import), unversioned, import];
    let is_own = OWN.iter().any(|own| import.starts_with(own));
    is_own
        || names
            .iter()
            .any(|name| list.iter().any(|it| it.matches(name)))
}

/// Returns the package that an interface belongs to: `wasi:clocks` of `wasi:clocks/wall-clock@0.2.0`.
fn package(import: &str) -> &str {
    let end = import.find(['/', '@']).unwrap_or(import.len());
    import.get(..end).unwrap_or(import)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn may(list: &[&str]) -> MayImport {
        let list = list.iter().map(|it| it.parse().unwrap());
        MayImport::new(Some(list.collect()))
    }

    #[test]
    fn an_import_is_allowed_by_its_package_its_name_or_its_version() {
        let clock = "wasi:clocks/wall-clock@0.2.3";
        for list in [
            "wasi:clocks",
            "wasi:clocks/wall-clock",
            clock,
            "wasi:*",
            "*/wall-clock",
        ] {
            assert_eq!(may(&[list]).refusal([clock]), None, "{list}");
        }
        for list in [
            "wasi:clock",
            "wasi:io",
            "clocks",
            "wasi:clocks/wall-clock@0.2.4",
        ] {
            assert!(may(&[list]).refusal([clock]).is_some(), "{list}");
        }
        assert_eq!(MayImport::default().refusal([clock]), None);
    }

    #[test]
    fn what_is_refused_is_named_with_the_remedy() {
        let imports = [
            "kafka:handler/producer@0.1.0",
            "wasi:io/poll@0.2.3",
            "wasi:sockets/tcp@0.2.3",
            "wasi:sockets/udp@0.2.3",
        ];
        assert_eq!(
            may(&["wasi:io"]).refusal(imports).unwrap(),
            "the component imports wasi:sockets/tcp@0.2.3, wasi:sockets/udp@0.2.3, which the tenant may not: imports has \
             \"wasi:io\" (add \"wasi:sockets\" there, or build the component without it)"
        );
        assert_eq!(
            may(&["wasi:io"]).lines().collect::<Vec<_>>(),
            ["imports wasi:io"]
        );
    }

    proptest! {
        #[test]
        fn a_longer_list_allows_no_less(
            list in proptest::collection::vec("[ab:/*]{1,4}", 1..4), more in "[ab:/*]{1,4}", import in "[ab]:[ab](/[ab])?(@1)?",
        ) {
            let mut longer: Vec<&str> = list.iter().map(String::as_str).collect();
            let before = may(&longer).refusal([&*import]);
            longer.push(&more);
            let after = may(&longer).refusal([&*import]);
            prop_assert!(before.is_some() || after.is_none());
        }
    }
}
