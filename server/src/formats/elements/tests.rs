//! Is an array the lines that it stands for, and an error what is none?

use super::*;

/// Gives one byte at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut out[..1])
    }
}

fn lines(array: &str) -> io::Result<String> {
    let mut whole = String::new();
    ElementLines::new(array.as_bytes()).read_to_string(&mut whole)?;
    let mut slow = String::new();
    ElementLines::new(Slow(array.as_bytes())).read_to_string(&mut slow)?;
    assert_eq!(whole, slow);
    Ok(whole)
}

#[test]
fn elements_become_lines() {
    for (array, expected) in [
        ("[]", ""),
        (" [ ] \n", ""),
        ("\u{feff}[\n{\"a\":1},\n{\"a\":2}\n]\n", "{\"a\":1}\n {\"a\":2} \n"),
        ("[{\n  \"a\": [1,\r\n2]\n}]", "{   \"a\": [1,  2] }\n"),
        ("[{\"a\":\"],\\\"\"},3]", "{\"a\":\"],\\\"\"}\n3\n"),
        ("[\"a\nb\"]", "\"a\u{1}b\"\n"),
    ] {
        assert_eq!(lines(array).expect(array), expected, "{array}");
    }
}

#[test]
fn what_is_no_array_is_an_error() {
    for (array, why) in [
        ("", "ends early"),
        ("[{\"a\":1}", "ends early"),
        ("[1,,2]", "byte 3: an element is missing"),
        ("[1,]", "an element is missing"),
        ("[1]]", "something follows"),
        ("[}", "never opened"),
        ("{}", "does not begin with ["),
    ] {
        let error = lines(array).expect_err(array);
        assert!(error.to_string().contains(why), "{array}: {error}");
    }
}
