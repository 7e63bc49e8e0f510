//! Chapters of the lab as a test plays them, whatever runs the tasks.

pub mod blue_green;
pub mod min_over;
pub mod rolling;
