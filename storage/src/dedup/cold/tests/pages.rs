//! Is a page believed only where it belongs, and a directory only when it is whole?

use super::super::directory::{FilterPlace, Part, decode, encode};
use super::super::kind::Order;
use super::super::pages::{PAGE_BYTES, PAYLOAD_BYTES, PageFile, PageWriter};
use crate::dedup::open::KeyRange;
use crate::dedup::permutation::Permutation;
use crate::error::Code;
use crate::fuse::Shape;

#[test]
fn a_page_of_another_place_or_another_file_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, salt: u64| {
        let path = folder.path().join(name);
        let mut writer = PageWriter::create(&path, salt).expect("a file");
        let first = writer.put_bytes(&[7; 3 * PAYLOAD_BYTES - 5]).expect("pages");
        assert_eq!((first, writer.n_pages()), (1, 4));
        writer.finish(b"head").expect("a file");
        path
    };
    let (one, other) = (write("one", 1), write("other", 2));
    let open = || PageFile::open(&one).expect("a file").with_salt(1);
    assert_eq!(open().n_pages().expect("a length"), 4);
    assert_eq!(open().read_bytes(1, 3 * PAYLOAD_BYTES - 5).expect("bytes"), vec![7; 3 * PAYLOAD_BYTES - 5]);
    let mut page = [0; PAGE_BYTES];
    assert_eq!(open().read(2, &mut page).expect("a page"), [7; PAYLOAD_BYTES]);
    let mut bytes = std::fs::read(&one).expect("the file");
    // Two equal pages change places: only their numbers tell them apart.
    let second = bytes[2 * PAGE_BYTES..3 * PAGE_BYTES].to_vec();
    bytes[PAGE_BYTES..2 * PAGE_BYTES].copy_from_slice(&second);
    std::fs::write(&one, &bytes).expect("damage");
    assert_eq!(open().read(1, &mut page).expect_err("page 2 at the place of page 1").code(), Code::LogDamaged);
    let foreign = std::fs::read(&other).expect("the file");
    std::fs::write(&one, &foreign).expect("damage");
    let error = open().read(1, &mut page).expect_err("a page of another file");
    assert!(error.message().contains("one does not match its checksum at byte 4096"), "{error}");
    assert_eq!(open().read(9, &mut page).expect_err("no such page").code(), Code::LogDamaged);
    std::fs::write(&one, &foreign[..5_000]).expect("damage");
    assert_eq!(open().n_pages().expect_err("half a page").code(), Code::LogDamaged);
}

#[test]
fn a_directory_comes_back_and_any_cut_of_it_is_refused() {
    let (shape, _) = Shape::build(&[1, 2, 3]).expect("a filter");
    let mut dense = Part::new(Order::Permuted(Permutation::new(0xFF00)), KeyRange { min: 3, max: 900 });
    dense.n_keys = 10;
    dense.add_section(1, &[3_u64, 70], None);
    dense.add_section(3, &[500], Some(FilterPlace { first_page: 4, shape }));
    let mut mixed = Part::new(Order::Mixed, KeyRange::FULL);
    mixed.add_section(5, &[1], None);
    let parts = vec![dense, mixed];
    let bytes = encode(&parts);
    assert_eq!(decode::<u64>(&bytes), Some(parts));
    for end in 0..bytes.len() {
        assert_eq!(decode::<u64>(&bytes[..end]), None);
    }
    let mut long = bytes.clone();
    long.push(0);
    assert_eq!(decode::<u64>(&long), None);
    let part = &decode::<u64>(&bytes).expect("parts")[0];
    let sections = [2, 3, 499, 500, u64::MAX].map(|word| part.section_of(word));
    assert_eq!(sections, [None, Some(0), Some(0), Some(1), Some(1)]);
    let first = &part.sections()[0];
    assert_eq!([3, 69, 70, 99].map(|word| part.page_of(first, word)), [1, 1, 2, 2]);
    assert_eq!(part.pages().collect::<Vec<_>>(), [1, 2, 3]);
}
