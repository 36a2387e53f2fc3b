//! The catalogue: whose definition holds.

use crate::domain::tests::{HEAD, contains};
use crate::domain::{Catalog, Definition};

fn named(name: &str, title: &str) -> String {
    HEAD.replace("parcel", name) + &format!("title = \"{title}\"\n")
}

fn title(catalog: &Catalog, tenant: &str, domain: &str) -> Option<String> {
    catalog.lookup(tenant, domain).map(|definition| definition.title().to_owned())
}

#[test]
fn a_tenants_own_definition_goes_before_everyones() {
    let catalog = Catalog::default()
        .load([
            ("parcel.toml", named("parcel", "for all")),
            ("letter.toml", named("letter", "for all")),
            ("acme/parcel.toml", named("parcel", "for acme")),
            ("acme/crate.toml", named("crate", "for acme")),
        ])
        .unwrap();
    assert_eq!(title(&catalog, "acme", "parcel").as_deref(), Some("for acme"));
    assert_eq!(title(&catalog, "acme", "letter").as_deref(), Some("for all"));
    assert_eq!(title(&catalog, "acme", "crate").as_deref(), Some("for acme"));
    assert_eq!(title(&catalog, "other", "parcel").as_deref(), Some("for all"));
    assert_eq!(title(&catalog, "other", "crate"), None);
    assert_eq!(title(&catalog, "acme", "unknown"), None);
    assert_eq!(catalog.names("acme").collect::<Vec<_>>(), ["crate", "letter", "parcel"]);
    assert_eq!(catalog.names("other").collect::<Vec<_>>(), ["letter", "parcel"]);
    let titles: Vec<_> = catalog.of("acme").map(|definition| definition.title()).collect();
    assert_eq!(titles, ["for acme", "for all", "for acme"]);
}

#[test]
fn a_later_definition_takes_the_place_of_its_name() {
    let parse = |title| Definition::parse("parcel.toml", &named("parcel", title)).unwrap();
    let catalog = Catalog::default().with(None, parse("old")).with(Some("acme"), parse("own"));
    let catalog = catalog.with(None, parse("new"));
    assert_eq!(title(&catalog, "other", "parcel").as_deref(), Some("new"));
    assert_eq!(title(&catalog, "acme", "parcel").as_deref(), Some("own"));
}

#[test]
fn a_file_must_say_in_its_path_whose_it_is() {
    for path in
        ["parcel", "parcel.txt", ".toml", "acme/", "acme/.toml", "/parcel.toml", "a/b/parcel.toml", ""]
    {
        let message = Catalog::default().load([(path, named("parcel", "x"))]).unwrap_err().to_string();
        contains(&message, &format!("{path}: a definition file is NAME.toml"));
    }
    let message =
        Catalog::default().load([("acme/letter.toml", named("parcel", "x"))]).unwrap_err().to_string();
    contains(&message, "acme/letter.toml: name: is \"parcel\", but the file is named \"letter\"");
}

#[test]
fn two_domains_of_a_tenant_have_two_paths() {
    let clash = |letter: &str| {
        let letter_text = named("letter", "x") + "path = \"parcel\"\n";
        Catalog::default().load([("parcel.toml", named("parcel", "x")), (letter, letter_text)])
    };
    for letter in ["letter.toml", "acme/letter.toml"] {
        let message = clash(letter).unwrap_err().to_string();
        contains(&message, "letter and parcel both have the path \"parcel\"");
    }
    let moved = named("parcel", "x") + "path = \"parcels\"\n";
    let two = [("acme/parcel.toml", named("parcel", "x")), ("parcel.toml", moved)];
    assert!(Catalog::default().load(two).is_ok(), "of one name only one holds for a tenant");
}
