use super::*;

#[test]
fn ids_are_shortened_to_what_tells_them_apart() {
    for (id, short) in [
        ("zdd_base.75443553-9070-11e6-aae4-3a4b79075094", "75443553"),
        ("a_b.c.75443553-9070", "75443553"),
        ("odd", "odd"),
    ] {
        assert_eq!(short_id(id), short);
    }
}
