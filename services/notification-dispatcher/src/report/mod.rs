//! Reports: what happened in a day, a week or a month, counted from the events that this service keeps.
//!
//! The calendar ([`period`]), the counting ([`figures`]) and the writing ([`html`], [`csv`], [`chart`]) are pure; [`make`]
//! reads the events, [`post`] sends each report once, and `notice` tells the operator of destinations that were disabled.

pub mod chart;
pub mod csv;
pub mod figures;
pub mod html;
pub mod make;
mod notice;
pub mod period;
pub mod post;
