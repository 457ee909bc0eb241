//! The behaviour every engine must show: one list of cases, run on both.
