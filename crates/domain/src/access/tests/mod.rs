//! The compiled engine against a reading of the rules that knows nothing of bits.

mod naive;
mod own_roles;
mod same;
