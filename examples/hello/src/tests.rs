use kafka_wasm_guest::testing;

#[test]
fn a_name_is_greeted() {
    testing::deliver(
        super::on_message,
        testing::message("names").text("World").build(),
    )
    .unwrap();
    assert_eq!(testing::emitted()[0].text(), Some("Hello, World!"));
}
