use kafka_wasm_guest::testing;

use super::*;

fn bulletin(place: &str) -> Result<String> {
    let value = format!(r#"{{"id":"a","place":"{place}","reports":7}}"#);
    let message = testing::message("felt").key("ci").text(&value).build();
    testing::deliver(on_message, message)?;
    let emitted = testing::emitted().pop().unwrap();
    assert_eq!(emitted.key_text(), Some("ci"));
    Ok(emitted.text().unwrap().to_owned())
}

#[test]
fn a_bulletin_begins_with_the_region() {
    let told = bulletin("24km W of Ilabaya, Peru");
    assert_eq!(told.as_deref(), Ok("Peru, 24km W of Ilabaya: felt by 7"));
    let told = bulletin("Reykjanes Ridge");
    assert_eq!(told.as_deref(), Ok("Reykjanes Ridge, at sea: felt by 7"));
}

#[test]
fn an_abbreviation_needs_its_meaning() {
    let place = "4km N of Norco, CA";
    assert_eq!(bulletin(place), Err(other("config has no `CA`")));
    testing::set_config("CA", "California");
    let told = bulletin(place);
    assert_eq!(told.as_deref(), Ok("California, 4km N of Norco: felt by 7"));
}
