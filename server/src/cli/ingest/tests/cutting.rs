//! Is a file cut by its bytes alone, and does each row keep its number however it is cut?

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::csv::reader::Format;
use proptest::prelude::*;
use std::sync::Arc;

use super::super::chunks::{Chunk, RowChunks};
use super::super::identity::producer_id;
use super::super::source::Source;
use super::{chunks_of, file, numbers, open, sent_lines};
use crate::cli::args::{CsvArgs, InputFormat};
use crate::formats::records::{Cutter, Form, Records};

fn groups(text: &[u8], form: Form, max_rows: usize, max_bytes: usize) -> Vec<Records> {
    let mut cutter = Cutter::new(text, form);
    std::iter::from_fn(|| cutter.next(max_rows, max_bytes).unwrap()).collect()
}

/// Each record with its lines.
fn records(groups: &[Records]) -> Vec<(Vec<u8>, u64, u64)> {
    let of = |record: crate::formats::records::Record<'_>| (record.bytes.to_vec(), record.first_line, record.last_line);
    groups.iter().flat_map(|group| group.iter().map(of).collect::<Vec<_>>()).collect()
}

/// Texts of the characters that mean something to a cutter.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("a"),
        Just("b,c"),
        Just("\""),
        Just("\"\""),
        Just(","),
        Just(" "),
        Just("\n"),
        Just("\r\n"),
        Just("\r"),
        Just("{\"a\": 1}\n"),
        Just("ä"),
        Just("\u{feff}"),
    ];
    prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #[test]
    fn groups_are_the_file_and_records_do_not_depend_on_them(
        text in any_text(),
        max_rows in 1usize..20,
        max_bytes in 1usize..100,
    ) {
        for form in [Form::Lines, Form::Csv] {
            let cut = groups(&text, form, max_rows, max_bytes);
            let joined: Vec<u8> = cut.iter().flat_map(|group| group.all_bytes().to_vec()).collect();
            prop_assert_eq!(&joined, &text);
            prop_assert!(cut.iter().all(|group| group.len() <= max_rows));
            prop_assert!(cut.iter().all(|group| group.len() <= 1 || group.text(0..group.len()).len() <= max_bytes));
            prop_assert_eq!(records(&cut), records(&groups(&text, form, usize::MAX, usize::MAX)));
        }
    }

    #[test]
    fn any_bytes_are_cut(text in prop::collection::vec(any::<u8>(), 0..300), max_rows in 1usize..5) {
        for form in [Form::Lines, Form::Csv] {
            let joined: Vec<u8> =
                groups(&text, form, max_rows, 50).iter().flat_map(|group| group.all_bytes().to_vec()).collect();
            prop_assert_eq!(&joined, &text);
        }
    }

    /// Where the CSV reader sees rows, the cutter sees the same ones.
    #[test]
    fn records_of_csv_are_those_of_the_reader(text in any_text()) {
        let n_records: usize = groups(&text, Form::Csv, 7, 40).iter().map(Records::len).sum();
        let format = Format::default().with_truncated_rows(true);
        let (_, n_read) = format.infer_schema(text.as_slice(), None).unwrap();
        prop_assert_eq!(n_records, n_read);
    }

    #[test]
    fn lines_are_those_that_the_server_counts(text in any_text()) {
        let n_records: usize = groups(&text, Form::Lines, 7, 40).iter().map(Records::len).sum();
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
        prop_assert_eq!(n_records, text.split(|&b| b == b'\n').filter(|line| !line.trim_ascii().is_empty()).count());
    }

    #[test]
    fn rows_of_a_file_keep_their_numbers(
        n_rows in 0i64..3000,
        chunk_rows in 1usize..700,
        stored in 0u64..4000,
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let rows = numbers(0..n_rows);
        let chunks = cut_rows(&rows, &cuts, chunk_rows, stored);
        prop_assert_eq!(&chunks, &cut_rows(&rows, &[], chunk_rows, stored));
        let mut next = 0;
        for chunk in &chunks {
            prop_assert_eq!(chunk.before, next);
            next = chunk.sequence();
            prop_assert_eq!(chunk.content.is_none(), next <= stored);
            if let Some(content) = &chunk.content {
                prop_assert_eq!(content, &rows.slice(chunk.before as usize, chunk.n_rows as usize));
            }
        }
        prop_assert_eq!(next, n_rows as u64);
    }
}

/// The same rows, read in batches that are cut at other places.
fn cut_rows(rows: &RecordBatch, cuts: &[usize], chunk_rows: usize, stored: u64) -> Vec<Chunk<RecordBatch>> {
    let mut batches = Vec::new();
    let mut start = 0;
    for cut in cuts.iter().map(|cut| cut % (rows.num_rows() + 1)).collect::<std::collections::BTreeSet<_>>() {
        batches.push(Ok(rows.slice(start, cut - start)));
        start = cut;
    }
    batches.push(Ok(rows.slice(start, rows.num_rows() - start)));
    let chunks = RowChunks::new(Box::new(batches.into_iter()), rows.schema(), chunk_rows);
    chunks.behind(stored).map(Result::unwrap).collect()
}

#[test]
fn chunks_of_wide_rows_are_halved() {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values((0..5000).map(|n| format!("{n:05}").repeat(1000))));
    let rows = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let chunks = cut_rows(&rows, &[7, 1234, 4321], 10_000, 0);
    assert_eq!(chunks.iter().map(Chunk::sequence).collect::<Vec<_>>(), [1250, 2500, 3750, 5000]);
    let content: Vec<_> = chunks.into_iter().filter_map(|chunk| chunk.content).collect();
    assert_eq!(concat_batches(&rows.schema(), &content).unwrap(), rows);
}

#[test]
fn a_broken_file_gives_its_error_once() {
    let batches = vec![Ok(numbers(0..5)), Err(anyhow::anyhow!("torn")), Ok(numbers(5..6))];
    let mut chunks = RowChunks::new(Box::new(batches.into_iter()), numbers(0..0).schema(), 10);
    assert!(chunks.next().unwrap().is_err());
    assert!(chunks.next().is_none());
}

#[test]
fn line_breaks_within_quotes_end_nothing() {
    let text = b"\xEF\xBB\xBFa,b\r\n\r\n1,\"x\r\ny, \"\"z\"\"\"\n\n2,5\" wide\rlast,\"open\n";
    let cut = groups(text, Form::Csv, 2, usize::MAX);
    let read: Vec<(String, u64, u64)> =
        records(&cut).into_iter().map(|(bytes, a, b)| (String::from_utf8(bytes).unwrap(), a, b)).collect();
    let expected = [("a,b", 1, 1), ("1,\"x\r\ny, \"\"z\"\"\"", 3, 4), ("2,5\" wide", 6, 6), ("last,\"open", 7, 8)];
    assert_eq!(read, expected.map(|(text, a, b)| (text.to_owned(), a, b)));
}

#[test]
fn a_record_that_fits_no_batch_is_an_error_with_its_line() {
    let mut text = b"a,b\n1,\"".to_vec();
    text.resize(17 << 20, b'x');
    let mut cutter = Cutter::new(text.as_slice(), Form::Csv);
    assert_eq!(cutter.next(1, usize::MAX).unwrap().unwrap().len(), 1);
    let error = cutter.next(10, 100).unwrap_err().to_string();
    assert!(error.starts_with("line 2: ") && error.contains("quote"), "{error}");
}

/// Rows that grow in JSON are cut further, and keep their numbers.
#[test]
fn what_is_too_large_as_json_is_halved() {
    let row = "\u{1}".repeat(1 << 20);
    let text = format!("{}\n{}", "n".repeat(200), format!("{row}\n").repeat(7));
    let chunks = chunks_of("a.csv", text.as_bytes(), 100, 0);
    assert!(chunks.iter().all(|chunk| chunk.content.as_ref().unwrap().payload.len() <= 16 << 20));
    assert_eq!(chunks.iter().map(Chunk::sequence).collect::<Vec<_>>(), [1, 3, 4, 6, 7]);
}

#[test]
fn a_text_goes_on_behind_any_row() {
    let csv = "id,t\n0,\"x\n1\"\n\nbad\n2,\"\"\n3,y\n4,z\n".as_bytes();
    let json = b"{\"id\": 0}\n\n{\"id\": \nno\n [3]\n{\"id\": 4}".as_slice();
    for (name, text) in [("a.csv", csv), ("a.ndjson", json)] {
        let all = sent_lines(&chunks_of(name, text, 100, 0));
        assert_eq!(all.len(), 5, "{all:?}");
        for chunk_rows in 1..7 {
            for stored in 0..6 {
                let chunks = chunks_of(name, text, chunk_rows, stored);
                assert_eq!(sent_lines(&chunks), all[(stored as usize).min(5)..], "{name} {chunk_rows} {stored}");
                assert_eq!(chunks.last().unwrap().sequence(), 5);
                assert_eq!(chunks.iter().map(|chunk| chunk.n_rows).sum::<u64>(), 5);
            }
        }
    }
}

#[test]
fn producers_are_named_by_all_that_numbers_depend_on() {
    let hash = "a".repeat(64);
    let producer_id = |table: &str, content: &str, form: InputFormat| producer_id(table, content, form, b',');
    assert_eq!(producer_id("git_events", &hash, InputFormat::Parquet), format!("git_events:{hash}:parquet.1"));
    assert_eq!(producer_id("s.t", &hash, InputFormat::Csv), format!("s.t:{hash}:csv.1"));
    let forms = [InputFormat::Parquet, InputFormat::Csv, InputFormat::Ndjson, InputFormat::Arrow];
    let ids: std::collections::HashSet<String> = forms.map(|form| producer_id("t", &hash, form)).into();
    assert_eq!(ids.len(), forms.len());
    let long = producer_id(&"ä b".repeat(100), &hash, InputFormat::Ndjson);
    assert!(long.len() <= 128 && long.ends_with(&format!(":{hash}:ndjson.1")));
    assert!(tidewater_storage::ids::ProducerId::new(long).is_ok());

    let (_folder, path) = file("a.csv", b"n\n1\n");
    let id = open(&path, None).producer_id("t");
    let delimited = |delimiter: u8| {
        let csv = CsvArgs { delimiter: Some(delimiter), ..CsvArgs::default() };
        Source::open(&path, None, None, 10, &csv).unwrap().producer_id("t")
    };
    assert_eq!(delimited(b','), id);
    assert!(delimited(b';').ends_with(":csv-3b.1") && delimited(b'\t').ends_with(":csv-09.1"));
    assert_eq!(open(&path, Some(InputFormat::Csv)).producer_id("t"), id);
    std::fs::write(&path, b"n\n2\n").unwrap();
    assert_ne!(open(&path, None).producer_id("t"), id);
}
