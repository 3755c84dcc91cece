//! Placeholder, replaced within the first milestone.
