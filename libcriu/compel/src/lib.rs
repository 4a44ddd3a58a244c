//! compel
