//! How is it written what is in a Parquet file? Thrift's compact form, walked through without a number in it being believed.
//!
//! Readers go by the form that a field should have, not by the one that it says it has. So a known field of another form ends the walk:
//! behind it the two would not read the same.

/// The form of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Bool,
    Byte,
    /// Of 16, 32 or 64 bits: all are written alike.
    Int,
    Double,
    Bytes,
    List(&'static Form),
    Struct(Fields),
}

/// Known fields by number.
pub(super) type Fields = &'static [(i16, Form)];

/// How deep values that are not known may stand in each other.
const MAX_DEPTH: usize = 16;

const BOOLS: std::ops::RangeInclusive<u8> = 1..=2;
const INTS: std::ops::RangeInclusive<u8> = 4..=6;

impl Form {
    /// `wire` is the type of a field as it is written.
    fn is(self, wire: u8) -> bool {
        match self {
            Form::Bool => BOOLS.contains(&wire),
            Form::Byte => wire == 3,
            Form::Int => INTS.contains(&wire),
            Form::Double => wire == 7,
            Form::Bytes => wire == 8,
            Form::List(_) => wire == 9,
            Form::Struct(_) => wire == 12,
        }
    }
}

/// Walks over bytes. `None`: they end early, or have another form.
pub(super) struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes that are not walked over yet.
    pub(super) fn n_left(&self) -> usize {
        self.0.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn pass_bytes(&mut self, n: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(n).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number of 32 bits.
    pub(super) fn number(&mut self) -> Option<i32> {
        let raw = self.varint()?;
        i32::try_from((raw >> 1) as i64 ^ -((raw & 1) as i64)).ok()
    }

    /// Number and written type of the next field; `Some(None)` at the end of the struct.
    fn field(&mut self, last: i16) -> Option<Option<(i16, u8)>> {
        let header = self.byte()?;
        let (step, wire) = (i16::from(header >> 4), header & 0x0f);
        Some(match (wire, step) {
            (0, _) => None,
            (_, 0) => Some((i16::try_from(self.number()?).ok()?, wire)),
            _ => Some((last.checked_add(step)?, wire)),
        })
    }

    /// All fields of a struct: `take` walks over those that are known, others are passed over.
    pub(super) fn fields(
        &mut self,
        known: Fields,
        mut take: impl FnMut(&mut Self, i16, Form) -> Option<()>,
    ) -> Option<()> {
        let mut last = 0;
        while let Some((id, wire)) = self.field(last)? {
            last = id;
            match known.iter().find(|(known, _)| *known == id) {
                Some((_, form)) if form.is(wire) => take(self, id, *form)?,
                Some(_) => return None,
                None => self.pass(wire, MAX_DEPTH)?,
            }
        }
        Some(())
    }

    /// How many values a list has, and their written type. No more than there are bytes: each takes one at least.
    fn list_of_any(&mut self) -> Option<(usize, u8)> {
        let header = self.byte()?;
        let n = match header >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            n => usize::from(n),
        };
        (n <= self.0.len()).then_some((n, header & 0x0f))
    }

    /// How many values of this form a list has.
    pub(super) fn list(&mut self, item: Form) -> Option<usize> {
        let (n, wire) = self.list_of_any()?;
        // Some write an empty list without a type.
        (item.is(wire) || n == 0).then_some(n)
    }

    pub(super) fn value(&mut self, form: Form) -> Option<()> {
        match form {
            // The type of the field is its value.
            Form::Bool => Some(()),
            Form::Byte => self.pass_bytes(1),
            Form::Int => self.varint().map(drop),
            Form::Double => self.pass_bytes(8),
            Form::Bytes => {
                let n = self.varint()?;
                self.pass_bytes(n)
            }
            // In a list each has a byte.
            Form::List(Form::Bool) => {
                let n = self.list(Form::Bool)?;
                self.pass_bytes(n as u64)
            }
            Form::List(item) => {
                let n = self.list(*item)?;
                (0..n).try_for_each(|_| self.value(*item))
            }
            Form::Struct(known) => self.fields(known, |walk, _, form| walk.value(form)),
        }
    }

    /// Passes over a value by its written type. Maps and lists of truth values are taken for damage: no field that is not known has them.
    fn pass(&mut self, wire: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match wire {
            1 | 2 => Some(()),
            3 => self.pass_bytes(1),
            4..=6 => self.varint().map(drop),
            7 => self.pass_bytes(8),
            8 => self.value(Form::Bytes),
            9 | 10 => {
                let (n, item) = self.list_of_any()?;
                (n == 0 || !BOOLS.contains(&item)).then_some(())?;
                (0..n).try_for_each(|_| self.pass(item, depth))
            }
            12 => {
                let mut last = 0;
                while let Some((id, wire)) = self.field(last)? {
                    last = id;
                    self.pass(wire, depth)?;
                }
                Some(())
            }
            _ => None,
        }
    }
}
