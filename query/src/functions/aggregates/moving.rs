//! What do DOUBLEs in a frame that moves come to? What those in it come to, and nothing of those that have left: who takes a large number away again
//! has lost the small ones beside it, and an infinity never leaves. So nothing is taken away. What comes is added to one total; when the first of it
//! leaves, all of it is turned over: for each row, what it and those behind it come to. A row is added twice, however many are in the frame.

use std::fmt::Debug;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Float64Type;
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

/// The accumulator of DOUBLEs in a frame for the aggregate of that name, if it sums them or asks how far they are spread.
pub(super) fn of_frame(name: &str) -> Option<Box<dyn Accumulator>> {
    let sums = sums_for(name).map(|result| Box::new(Moving::new(result)) as Box<dyn Accumulator>);
    sums.or_else(|| spread_for(name).map(|result| Box::new(Moving::new(result)) as Box<dyn Accumulator>))
}

/// What some rows come to; none of them, the default.
trait Total: Debug + Copy + Default + Send + Sync + 'static {
    fn of_row(y: f64, x: f64) -> Self;

    fn plus(self, others: Self) -> Self;
}

#[derive(Debug)]
struct Moving<T> {
    result: fn(&T) -> Option<f64>,
    /// Of the rows that leave first, the next one last: what each and those behind it among them come to.
    turned: Vec<T>,
    /// The rows behind those, and what they come to.
    come: Vec<(f64, f64)>,
    of_come: T,
}

impl<T: Total> Moving<T> {
    fn new(result: fn(&T) -> Option<f64>) -> Self {
        Self { result, turned: Vec::new(), come: Vec::new(), of_come: T::default() }
    }

    fn turn_over(&mut self) {
        let mut total = T::default();
        while let Some((y, x)) = self.come.pop() {
            total = T::of_row(y, x).plus(total);
            self.turned.push(total);
        }
        self.of_come = T::default();
    }
}

/// The values of those rows that have all of them. Of a function of one argument both are that one.
fn rows_of(values: &[ArrayRef]) -> impl Iterator<Item = (f64, f64)> {
    let y = values[0].as_primitive::<Float64Type>();
    let x = values[values.len() - 1].as_primitive::<Float64Type>();
    y.iter().zip(x.iter()).filter_map(|(y, x)| y.zip(x))
}

impl<T: Total> Accumulator for Moving<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for (y, x) in rows_of(values) {
            self.come.push((y, x));
            self.of_come = self.of_come.plus(T::of_row(y, x));
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        // They leave in the order in which they came.
        for _ in rows_of(values) {
            if self.turned.is_empty() {
                self.turn_over();
            }
            self.turned.pop();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let total = self.turned.last().copied().unwrap_or_default().plus(self.of_come);
        Ok(ScalarValue::Float64((self.result)(&total)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("a frame is computed as a whole")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        internal_err!("a frame is computed as a whole")
    }

    fn size(&self) -> usize {
        let (turned, come) = (self.turned.capacity() * size_of::<T>(), self.come.capacity() * size_of::<(f64, f64)>());
        size_of_val(self) + turned + come
    }
}

/// How many rows there are, and their sums.
#[derive(Debug, Clone, Copy)]
struct Sums {
    n: f64,
    y: f64,
    x: f64,
}

impl Default for Sums {
    /// With what changes nothing that it is added to: 0.0 would change -0.0.
    fn default() -> Self {
        Self { n: 0.0, y: -0.0, x: -0.0 }
    }
}

impl Total for Sums {
    fn of_row(y: f64, x: f64) -> Self {
        Self { n: 1.0, y, x }
    }

    fn plus(self, others: Self) -> Self {
        Self { n: self.n + others.n, y: self.y + others.y, x: self.x + others.x }
    }
}

impl Sums {
    fn if_any(&self, result: f64) -> Option<f64> {
        (self.n > 0.0).then_some(result)
    }
}

fn sums_for(name: &str) -> Option<fn(&Sums) -> Option<f64>> {
    let result: fn(&Sums) -> Option<f64> = match name {
        "sum" => |of| of.if_any(of.y),
        "avg" | "regr_avgy" => |of| of.if_any(of.y / of.n),
        "regr_avgx" => |of| of.if_any(of.x / of.n),
        _ => return None,
    };
    Some(result)
}

/// How many rows there are, around which means, and how far from these: the sums of the squares, and of the products, of all distances.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    n: f64,
    mean_y: f64,
    mean_x: f64,
    yy: f64,
    xx: f64,
    xy: f64,
}

impl Total for Spread {
    fn of_row(y: f64, x: f64) -> Self {
        // Nothing is so and so far from an infinity, or from NaN: then these are NaN, else 0.
        let (yy, xx) = ((y * 0.0).abs(), (x * 0.0).abs());
        Self { n: 1.0, mean_y: y, mean_x: x, yy, xx, xy: yy + xx }
    }

    fn plus(self, others: Self) -> Self {
        if self.n == 0.0 {
            return others;
        }
        if others.n == 0.0 {
            return self;
        }
        let n = self.n + others.n;
        let (share, weight) = (others.n / n, self.n * others.n / n);
        let (y, x) = (others.mean_y - self.mean_y, others.mean_x - self.mean_x);
        Self {
            n,
            mean_y: self.mean_y + y * share,
            mean_x: self.mean_x + x * share,
            yy: self.yy + others.yy + y * y * weight,
            xx: self.xx + others.xx + x * x * weight,
            xy: self.xy + others.xy + y * x * weight,
        }
    }
}

impl Spread {
    fn if_at_least(&self, n: f64, result: f64) -> Option<f64> {
        (self.n >= n).then_some(result)
    }

    /// A line has no slope where all `x` are one.
    fn if_sloped(&self, result: f64) -> Option<f64> {
        (self.xx != 0.0).then_some(result)
    }

    fn if_both_spread(&self, result: f64) -> Option<f64> {
        (self.xx != 0.0 && self.yy != 0.0).then_some(result)
    }

    fn correlation(&self) -> f64 {
        let product = self.xx * self.yy;
        match product.is_normal() {
            true => self.xy / product.sqrt(),
            // It is beyond what a DOUBLE holds, and its root is not.
            false => self.xy / self.xx.sqrt() / self.yy.sqrt(),
        }
    }
}

fn spread_for(name: &str) -> Option<fn(&Spread) -> Option<f64>> {
    let result: fn(&Spread) -> Option<f64> = match name {
        "var" => |of| of.if_at_least(2.0, of.yy / (of.n - 1.0)),
        "var_pop" => |of| of.if_at_least(1.0, of.yy / of.n),
        "stddev" => |of| of.if_at_least(2.0, (of.yy / (of.n - 1.0)).sqrt()),
        "stddev_pop" => |of| of.if_at_least(1.0, (of.yy / of.n).sqrt()),
        "covar_samp" => |of| of.if_at_least(2.0, of.xy / (of.n - 1.0)),
        "covar_pop" => |of| of.if_at_least(1.0, of.xy / of.n),
        "corr" => |of| of.if_both_spread(of.correlation()),
        "regr_syy" => |of| of.if_at_least(1.0, of.yy),
        "regr_sxx" => |of| of.if_at_least(1.0, of.xx),
        "regr_sxy" => |of| of.if_at_least(1.0, of.xy),
        "regr_slope" => |of| of.if_sloped(of.xy / of.xx),
        "regr_intercept" => |of| of.if_sloped(of.mean_y - of.xy / of.xx * of.mean_x),
        "regr_r2" => |of| of.if_both_spread(of.xy / of.xx * (of.xy / of.yy)),
        _ => return None,
    };
    Some(result)
}
