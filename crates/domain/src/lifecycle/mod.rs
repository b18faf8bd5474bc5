//! The lives of tenants, as far as they are rules: how long a leaving tenant's data is kept, when a change of tier takes
//! effect, and the certificate that says what became of everything.

pub mod certificate;
pub mod envelope;
pub mod evidence;
pub mod retention;
pub mod tier_change;
