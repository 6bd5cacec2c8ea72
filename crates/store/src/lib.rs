//! The call index.
mod query;
pub use query::{
    ArgumentTest, Comparison, Contained, Exact, Expr, Figure, HexPrefix, Metric, Pattern, Piece, Query, QueryError,
    Step, Term,
};
