//! What this service refuses, in the form of the gateway's refusals: a stable code, and what to do next.

use rowhouse_domain::refusal::{Fault, Kind, Refusal, kind};

macro_rules! kinds {
    ($($name:ident = $code:literal, $status:literal, $title:literal, $cure:literal;)*) => {
        $(pub static $name: Kind =
            Kind { code: $code, status: $status, fault: Fault::Caller, title: $title, cure: $cure };)*
    };
}

kinds! {
    FULL = "parking.full", 409, "The car park is full", "Send the car to another location.";
    INSIDE = "parking.already_inside", 409, "The car is inside already", "Let it leave first.";
    LEFT = "parking.left", 409, "The car has left", "Nothing is to be done.";
    DUE = "parking.payment_due", 402, "Something is to be paid", "Pay the amount in the detail, then leave.";
    AMOUNT = "parking.wrong_amount", 422, "The amount is not what is due", "Pay the amount in the detail.";
    REFERENCE = "parking.reference_used", 409, "The reference stands for another payment", "Use one reference for one payment.";
    TAKEN = "parking.taken", 409, "There is one like it already", "Choose another code, e-mail address or plate.";
    IN_USE = "parking.in_use", 409, "Cars have parked there", "Keep the location: its entries need it.";
}

/// Nothing of this tenant has the id.
pub fn no_such(what: &str) -> Refusal {
    Refusal::new(&kind::NOT_FOUND, format!("There is no such {what}."))
}

/// A field that is wrong.
pub fn invalid(pointer: &str, detail: &str) -> Refusal {
    Refusal::new(&kind::INVALID, "The request is understood and wrong.").field(pointer, "invalid", detail)
}
