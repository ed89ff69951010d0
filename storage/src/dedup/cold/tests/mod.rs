//! Do the parts of a run keep what they are given?

mod blocks;
mod pages;
