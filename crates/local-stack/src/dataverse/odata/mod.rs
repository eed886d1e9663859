//! The OData 4.0 the Web API speaks: paths, query options, `$filter`.

pub(super) mod filter;
pub(super) mod lexer;
pub(super) mod options;
pub(super) mod paging;
pub(super) mod path;
