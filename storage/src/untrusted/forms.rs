//! Which fields has what stands in a Parquet file, and of which form?

use super::thrift::{Fields, Form};

const NOTHING: Form = Form::Struct(&[]);
const UNIT: Form = Form::Struct(&[(1, NOTHING), (2, NOTHING), (3, NOTHING)]);
const TIME: Form = Form::Struct(&[(1, Form::Bool), (2, UNIT)]);
const LOGICAL_TYPE: Form = Form::Struct(&[
    (1, NOTHING),
    (2, NOTHING),
    (3, NOTHING),
    (4, NOTHING),
    (5, Form::Struct(&[(1, Form::Int), (2, Form::Int)])),
    (6, NOTHING),
    (7, TIME),
    (8, TIME),
    (10, Form::Struct(&[(1, Form::Byte), (2, Form::Bool)])),
    (11, NOTHING),
    (12, NOTHING),
    (13, NOTHING),
    (14, NOTHING),
    (15, NOTHING),
    (16, Form::Struct(&[(1, Form::Byte)])),
    (17, Form::Struct(&[(1, Form::Bytes)])),
    (18, Form::Struct(&[(1, Form::Bytes), (2, Form::Int)])),
]);
pub(super) const SCHEMA_ELEMENT: Fields = &[
    (1, Form::Int),
    (FIXED_LENGTH, Form::Int),
    (3, Form::Int),
    (4, Form::Bytes),
    (N_CHILDREN, Form::Int),
    (6, Form::Int),
    (7, Form::Int),
    (8, Form::Int),
    (9, Form::Int),
    (10, LOGICAL_TYPE),
];
pub(super) const FIXED_LENGTH: i16 = 2;
pub(super) const N_CHILDREN: i16 = 5;
const STATISTICS: Form = Form::Struct(&[
    (1, Form::Bytes),
    (2, Form::Bytes),
    (3, Form::Int),
    (4, Form::Int),
    (5, Form::Bytes),
    (6, Form::Bytes),
    (7, Form::Bool),
    (8, Form::Bool),
]);
const INTS: Form = Form::List(&Form::Int);
const BOX: Form = Form::Struct(&[
    (1, Form::Double),
    (2, Form::Double),
    (3, Form::Double),
    (4, Form::Double),
    (5, Form::Double),
    (6, Form::Double),
    (7, Form::Double),
    (8, Form::Double),
]);
const COLUMN: Form = Form::Struct(&[
    (1, Form::Int),
    (2, INTS),
    (4, Form::Int),
    (5, Form::Int),
    (6, Form::Int),
    (7, Form::Int),
    (9, Form::Int),
    (10, Form::Int),
    (11, Form::Int),
    (12, STATISTICS),
    (13, Form::List(&Form::Struct(&[(1, Form::Int), (2, Form::Int), (3, Form::Int)]))),
    (14, Form::Int),
    (15, Form::Int),
    (16, Form::Struct(&[(1, Form::Int), (2, INTS), (3, INTS)])),
    (17, Form::Struct(&[(1, BOX), (2, INTS)])),
]);
const COLUMN_CHUNK: Form = Form::Struct(&[
    (1, Form::Bytes),
    (2, Form::Int),
    (3, COLUMN),
    (4, Form::Int),
    (5, Form::Int),
    (6, Form::Int),
    (7, Form::Int),
]);
const ROW_GROUP: Form = Form::Struct(&[
    (1, Form::List(&COLUMN_CHUNK)),
    (2, Form::Int),
    (3, Form::Int),
    (4, Form::List(&Form::Struct(&[(1, Form::Int), (2, Form::Bool), (3, Form::Bool)]))),
    (5, Form::Int),
    (7, Form::Int),
]);
pub(super) const FOOTER: Fields = &[
    (1, Form::Int),
    (SCHEMA, Form::List(&Form::Struct(SCHEMA_ELEMENT))),
    (3, Form::Int),
    (ROW_GROUPS, Form::List(&ROW_GROUP)),
    (5, Form::List(&Form::Struct(&[(1, Form::Bytes), (2, Form::Bytes)]))),
    (6, Form::Bytes),
    (7, Form::List(&Form::Struct(&[(1, NOTHING)]))),
];
pub(super) const SCHEMA: i16 = 2;
pub(super) const ROW_GROUPS: i16 = 4;

pub(super) const DATA_PAGE: i16 = 5;
pub(super) const DICTIONARY: i16 = 7;
pub(super) const DATA_PAGE_V2: i16 = 8;
pub(super) const PAGE: Fields = &[
    (1, Form::Int),
    (2, Form::Int),
    (3, Form::Int),
    (4, Form::Int),
    (DATA_PAGE, Form::Struct(&[(1, Form::Int), (2, Form::Int), (3, Form::Int), (4, Form::Int), (5, STATISTICS)])),
    (6, NOTHING),
    (DICTIONARY, Form::Struct(&[(1, Form::Int), (2, Form::Int), (3, Form::Bool)])),
    (
        DATA_PAGE_V2,
        Form::Struct(&[
            (1, Form::Int),
            (2, Form::Int),
            (3, Form::Int),
            (4, Form::Int),
            (5, Form::Int),
            (6, Form::Int),
            (7, Form::Bool),
            (8, STATISTICS),
        ]),
    ),
];

/// Where the pages of a column are.
pub(super) const OFFSET_INDEX: Fields =
    &[(1, Form::List(&Form::Struct(&[(1, Form::Int), (2, Form::Int), (3, Form::Int)]))), (2, INTS)];

/// Bounds of the pages of a column.
pub(super) const COLUMN_INDEX: Fields = &[
    (1, Form::List(&Form::Bool)),
    (2, Form::List(&Form::Bytes)),
    (3, Form::List(&Form::Bytes)),
    (4, Form::Int),
    (5, INTS),
    (6, INTS),
    (7, INTS),
];
