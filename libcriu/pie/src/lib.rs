//! pie
