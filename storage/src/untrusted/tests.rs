//! Is what we write believed, and nothing that lies about itself? What is said of footers of strangers is tested where files are ingested.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};

use super::sums::BLOCK_BYTES;
use super::*;

/// As files of tables are written.
fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(4_000))
        .set_data_page_row_count_limit(500)
        .set_write_batch_size(100)
        .set_statistics_enabled(EnabledStatistics::Page)
}

fn written(properties: WriterProperties) -> Bytes {
    let n = 10_000;
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..n))),
        ("name", Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("name {}", i % 7))))),
        ("body", Arc::new(BinaryArray::from_iter_values((0..n).map(|i| i.to_le_bytes())))),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>((0..n).map(|i| Some(vec![Some(i), None])))),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).expect("begun");
    writer.write(&batch).expect("written");
    writer.close().expect("ended");
    file.into()
}

fn with_index(file: &Bytes) -> ParquetMetaData {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.parse_and_finish(file).expect("a footer")
}

#[test]
fn what_we_write_passes() {
    let file = written(properties().build());
    let n_bytes = file.len() as u64;
    let tail = &file[file.len() - TAIL_BYTES as usize..];
    let end = file.slice(file.len() - sealed_footer_bytes(tail).expect("an end") as usize..);
    let footer = read_sealed_footer(&end, n_bytes).expect("a footer");
    assert_eq!(footer.num_row_groups(), 3);
    let place = index_place(&footer, n_bytes).expect("within").expect("there");
    let index = &file[place.start as usize..place.end as usize];
    check_index(&footer, index, place.start).expect("whole");
    let footer = with_index(&file);
    check_locations(&footer, n_bytes).expect("in their places");
    for (at, group) in footer.row_groups().iter().enumerate() {
        check_sealed_columns(&file, group, |_| true).expect("whole");
        for (leaf, column) in group.columns().iter().enumerate() {
            let (start, length) = column.byte_range();
            let pages = footer.offset_index().expect("there")[at][leaf].page_locations();
            let part = |from: u64, to: u64| file.slice(from as usize..to as usize);
            let all = part(start, start + length);
            assert_eq!(check_sealed_part(&all, start, column, pages).expect("whole"), 0);
            assert_eq!(check_sealed_part(&all, start, column, &[]).expect("whole"), 0);
            assert!(pages.len() > 1);
            for page in pages {
                let (from, to) = (page.offset as u64, (page.offset + i64::from(page.compressed_page_size)) as u64);
                check_sealed_part(&part(from, to), from, column, pages).expect("one page");
            }
            let first = pages[0].offset as u64;
            check_sealed_part(&part(start, first), start, column, pages).expect("a dictionary, or nothing");
        }
    }
    check_file(&file, 1 << 30).expect("of a stranger, too");
}

#[test]
fn pages_are_where_the_index_says_or_nowhere() {
    let file = written(properties().build());
    let footer = with_index(&file);
    let column = footer.row_group(0).column(2);
    let pages = footer.offset_index().expect("there")[0][2].page_locations();
    let (start, length) = column.byte_range();
    let part = file.slice(start as usize..(start + length) as usize);
    let refused = |change: fn(&mut Vec<PageLocation>)| {
        let mut pages = pages.clone();
        change(&mut pages);
        check_sealed_part(&part, start, column, &pages).expect_err("refused").code()
    };
    // Within a page stands what its writer likes: another page, for one.
    assert_eq!(refused(|pages| pages[1].offset += 1), Code::MalformedPayload);
    assert_eq!(refused(|pages| pages[1].compressed_page_size -= 1), Code::MalformedPayload);
    assert_eq!(
        refused(|pages| {
            pages.remove(1);
        }),
        Code::MalformedPayload
    );
    assert_eq!(refused(|pages| pages.push(pages[0].clone())), Code::MalformedPayload);
}

#[test]
fn a_damaged_index_is_not_read() {
    let file = written(properties().build());
    let footer = read_sealed_footer(&file, file.len() as u64).expect("a footer");
    let place = index_place(&footer, file.len() as u64).expect("within").expect("there");
    let index = file.slice(place.start as usize..place.end as usize);
    for column in footer.row_group(0).columns() {
        for at in [column.offset_index_offset(), column.column_index_offset()] {
            let at = at.expect("there") as u64 - place.start;
            let mut damaged = index.to_vec();
            // A list of so many.
            damaged[at as usize + 1..at as usize + 7].copy_from_slice(&[0xfc, 0xff, 0xff, 0xff, 0xff, 0x07]);
            let error = check_index(&footer, &damaged, place.start).expect_err("refused");
            assert_eq!(error.code(), Code::MalformedPayload);
        }
    }
    assert!(check_index(&footer, &index[1..], place.start).is_err(), "cut");
    assert!(read_sealed_footer(&file, place.start - 1).is_err(), "behind the end");
}

#[test]
fn pages_that_claim_too_much_are_refused() {
    let properties = properties().set_dictionary_enabled(false).set_compression(Compression::UNCOMPRESSED).build();
    let file = written(properties);
    let footer = with_index(&file);
    let (start, length) = footer.row_group(0).column(2).byte_range();
    // The page's size, plain: a number of two bytes becomes one of five.
    let mut bytes = file[start as usize..(start + length) as usize].to_vec();
    assert_eq!(bytes[..3], [0x15, 0x00, 0x15], "kind, then size");
    bytes.splice(3..5, [0xfe, 0xff, 0xff, 0xff, 0x0f]);
    let error = check_sealed_part(&bytes.into(), start, footer.row_group(0).column(2), &[]).expect_err("refused");
    assert_eq!(error.code(), Code::BatchTooLarge, "{error}");

    let delta = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY);
    let mut file = Vec::new();
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(["a", "ab"]));
    let batch = RecordBatch::try_from_iter([("name", names)]).expect("a column");
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(delta.build())).expect("begun");
    writer.write(&batch).expect("written");
    writer.close().expect("ended");
    let file = Bytes::from(file);
    let footer = read_sealed_footer(&file, file.len() as u64).expect("a footer");
    let error = check_sealed_columns(&file, footer.row_group(0), |_| true).expect_err("refused");
    assert_eq!(error.code(), Code::MalformedPayload, "{error}");
    check_sealed_columns(&file, footer.row_group(0), |_| false).expect("it is not read");
}

#[test]
fn nothing_is_believed_of_any_changed_byte() {
    let file = written(properties().build());
    let n_bytes = file.len() as u64;
    let length = sealed_footer_bytes(&file[file.len() - TAIL_BYTES as usize..]).expect("an end") as usize;
    let end = file.slice(file.len() - length..);
    for at in 0..length {
        let mut bytes = end.to_vec();
        bytes[at] ^= 0x55;
        // Refused, or read without harm.
        let _ = read_sealed_footer(&Bytes::from(bytes), n_bytes);
    }
}

/// A file of three blocks and a half, and what its footer says of them.
fn with_sums() -> (Bytes, String) {
    let file: Vec<u8> = (0..7 * BLOCK_BYTES / 2).map(|at| ((at * at) >> 7) as u8).collect();
    let mut writer = SumsWriter::default();
    // However the bytes come.
    for part in file.chunks(10_007) {
        writer.add(part);
    }
    (file.into(), writer.finish())
}

fn one(range: Range<u64>) -> [Range<u64>; 1] {
    [range]
}

/// Reads parts of a file as it is now.
fn read_parts(sums: &Sums, file: &Bytes, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    let part = |range: &Range<u64>| file.slice(range.start as usize..range.end as usize);
    match sums.to_read(ranges) {
        Some(wide) => sums.tested(&wide, &wide.iter().map(part).collect::<Vec<_>>(), ranges),
        None => Ok(ranges.iter().map(part).collect()),
    }
}

#[test]
fn parts_of_a_file_are_tested_once_in_whole_blocks() {
    let (file, text) = with_sums();
    let sums = Sums::read(&text, file.len() as u64).expect("of this file");
    let (block, end) = (BLOCK_BYTES, file.len() as u64);
    // Out of order, two in one block, one over an edge, the last byte, and nothing.
    let ranges = [2 * block - 5..2 * block + 5, 10..20, 100..block, end - 1..end, 50..50];
    let wide = sums.to_read(&ranges).expect("nothing was tested yet");
    assert_eq!(wide, one(0..end));
    let parts = read_parts(&sums, &file, &ranges).expect("whole");
    for (part, range) in parts.iter().zip(&ranges) {
        assert_eq!(part[..], file[range.start as usize..range.end as usize]);
    }
    assert_eq!(sums.to_read(&ranges), None);

    let sums = Sums::read(&text, end).expect("of this file");
    read_parts(&sums, &file, &one(block..block + 1)).expect("whole");
    assert_eq!(sums.to_read(&one(block + 7..2 * block)), None);
    assert_eq!(sums.to_read(&[0..1, block..block + 1, 3 * block..end]), Some(vec![0..2 * block, 3 * block..end]));
}

#[test]
fn any_other_bit_of_a_block_is_found() {
    let (file, text) = with_sums();
    let (block, end) = (BLOCK_BYTES as usize, file.len() as u64);
    for at in [0, 1, block - 1, block, 2 * block + 77, file.len() - 1] {
        let mut other = file.to_vec();
        other[at] ^= 1 << (at % 8);
        let other = Bytes::from(other);
        let sums = Sums::read(&text, end).expect("of this file");
        let asked = one(at as u64..at as u64 + 1);
        let refused = read_parts(&sums, &other, &asked).expect_err("it is not what was written");
        assert_eq!(refused.code(), Code::FileDamaged);
        // Whoever comes next finds it as well, and who asks for other blocks does not.
        assert!(read_parts(&sums, &other, &asked).is_err());
        let elsewhere = ((at / block + 1) % 4 * block) as u64;
        read_parts(&sums, &other, &one(elsewhere..elsewhere + 9)).expect("other blocks are whole");
    }
}

#[test]
fn checksums_of_other_blocks_are_refused() {
    let (file, text) = with_sums();
    let end = file.len() as u64;
    for n_bytes in [0, end - BLOCK_BYTES, end + BLOCK_BYTES] {
        assert_eq!(Sums::read(&text, n_bytes).expect_err("of another file").code(), Code::FileDamaged);
    }
    for text in ["", "no checksums", &text[..text.len() - 5]] {
        assert_eq!(Sums::read(text, end).expect_err("damaged").code(), Code::FileDamaged, "{text}");
    }
    let newer = z85::encode([9_u8]);
    assert_eq!(Sums::read(&newer, end).expect_err("newer").code(), Code::LogUnknownVersion);
    // What is said to stand behind the last block.
    let sums = Sums::read(&text, end).expect("of this file");
    let behind = Bytes::from(vec![0; file.len() + 9]);
    assert!(read_parts(&sums, &behind, &one(end..end + 9)).is_err());
    // A store that gives less than was asked for.
    let wide = sums.to_read(&one(0..9)).expect("nothing was tested yet");
    assert!(sums.tested(&wide, &[file.slice(..100)], &one(0..9)).is_err());
    assert!(sums.tested(&wide, &[], &one(0..9)).is_err());
}
