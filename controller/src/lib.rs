//! Tradepost.
