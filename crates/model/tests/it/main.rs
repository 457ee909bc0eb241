//! The protocol explored, and mistakes that must be found.

mod explore;
