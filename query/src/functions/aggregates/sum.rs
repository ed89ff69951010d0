//! What is `sum(x)`? The exact sum, or an error where it does not fit into its type; DataFusion's own wraps round.
//!
//! Totals are kept in a wider type than the values, so that the order of the rows decides nothing: only the sum itself has to fit.
//! Types of results are DataFusion's: BIGINT for signed integers, UBIGINT for unsigned ones, ten digits more for DECIMAL. DOUBLE and
//! INTERVAL are summed by DataFusion.

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field, FieldRef, Int64Type, TimeUnit,
    UInt64Type,
};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
};

use super::distinct::{DistinctSum, SlidingDistinctSum};
use super::groups::GroupedSums;
use super::total::ExactSum;
use super::wide::Wide;
use crate::functions::delegated::of_inner;

/// Names a macro's result for the type of a sum's values, or `$other` for types that are left to DataFusion.
macro_rules! by_values {
    ($sum:expr, $made:ident, $other:expr) => {
        match $sum {
            DataType::Int64 => $made!(Int64Type),
            DataType::UInt64 => $made!(UInt64Type),
            DataType::Decimal32(_, _) => $made!(Decimal32Type),
            DataType::Decimal64(_, _) => $made!(Decimal64Type),
            DataType::Decimal128(_, _) => $made!(Decimal128Type),
            DataType::Decimal256(_, _) => $made!(Decimal256Type),
            DataType::Duration(TimeUnit::Second) => $made!(DurationSecondType),
            DataType::Duration(TimeUnit::Millisecond) => $made!(DurationMillisecondType),
            DataType::Duration(TimeUnit::Microsecond) => $made!(DurationMicrosecondType),
            DataType::Duration(TimeUnit::Nanosecond) => $made!(DurationNanosecondType),
            _ => $other,
        }
    };
}

/// The function in the place of DataFusion's.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct CheckedSum {
    inner: Sum,
}

impl AggregateUDFImpl for CheckedSum {
    of_inner! {
        fn name(&self) -> &str;
        fn signature(&self) -> &Signature;
        fn return_type(&self, arg_types: &[DataType]) -> Result<DataType>;
        fn documentation(&self) -> Option<&Documentation>;
        fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity;
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let sum = args.return_type().clone();
        if args.is_distinct {
            let inner = self.inner.accumulator(args)?;
            macro_rules! made {
                ($values:ty) => {
                    Ok(Box::new(DistinctSum::<$values>::new(inner, sum)))
                };
            }
            return by_values!(sum, made, Ok(inner));
        }
        macro_rules! made {
            ($values:ty) => {
                Ok(Box::new(ExactSum::<$values>::new(sum)))
            };
        }
        by_values!(sum, made, self.inner.accumulator(args))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.is_distinct {
            return self.inner.state_fields(args);
        }
        let total = |data_type| Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), data_type, true))]);
        macro_rules! made {
            ($values:ty) => {
                total(<$values as Wide>::TOTAL)
            };
        }
        by_values!(args.return_type(), made, self.inner.state_fields(args))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let sum = args.return_type().clone();
        macro_rules! made {
            ($values:ty) => {
                Ok(Box::new(GroupedSums::<$values>::new(sum)))
            };
        }
        by_values!(sum, made, self.inner.create_groups_accumulator(args))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return match args.return_type() {
                DataType::Int64 => Ok(Box::new(SlidingDistinctSum::default())),
                // DataFusion has none for other types, and says so.
                _ => self.inner.create_sliding_accumulator(args),
            };
        }
        let sum = args.return_type().clone();
        macro_rules! made {
            ($values:ty) => {
                Ok(Box::new(ExactSum::<$values>::new(sum)))
            };
        }
        by_values!(sum, made, self.inner.create_sliding_accumulator(args))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
