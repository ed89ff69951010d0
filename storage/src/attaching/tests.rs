//! Does the record of a table's origin stay what it was?

use url::Url;
use uuid::Uuid;

use super::Origin;
use crate::error::Code;
use crate::ids::LogId;

#[test]
fn the_first_form_of_the_record_is_read() {
    let log_id = LogId(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10));
    let mut bytes = vec![1, 0x0a, 16];
    bytes.extend(1..=16);
    let here = Origin { log_id, root: None };
    assert_eq!(here.to_disk(), bytes);
    assert_eq!(Origin::from_disk(&bytes).expect("read"), here);
    let root = "file:///old/tables";
    bytes.extend([0x12, root.len() as u8]);
    bytes.extend(root.as_bytes());
    let elsewhere = Origin { root: Some(Url::parse(root).expect("a URL")), ..here };
    assert_eq!(elsewhere.to_disk(), bytes);
    assert_eq!(Origin::from_disk(&bytes).expect("read"), elsewhere);
}

#[test]
fn what_is_no_record_is_refused() {
    let code = |bytes: &[u8]| Origin::from_disk(bytes).expect_err("refused").code();
    assert_eq!(code(&[]), Code::LogDamaged);
    assert_eq!(code(&[2, 0x0a, 0]), Code::LogUnknownVersion);
    assert_eq!(code(&[1]), Code::LogDamaged, "a log has an id");
    assert_eq!(code(&[1, 0x0a, 3, 1, 2, 3]), Code::LogDamaged);
    assert_eq!(code(&[1, 0xff]), Code::LogDamaged);
}
