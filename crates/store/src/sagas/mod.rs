//! Sagas: long changes with do and undo, logged step by step.
