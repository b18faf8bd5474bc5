//! The small enumerations of a record. Their numbers are part of the format and never change.

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number),+ }

        impl $name {
            pub(crate) fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }

            /// The word for it in URLs, metrics and JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

numbered! {
    /// Who acted.
    PrincipalKind {
        #[default]
        Anonymous = 0 "anonymous",
        User = 1 "user",
        ApiKey = 2 "api_key",
        ServiceAccount = 3 "service_account",
        Operator = 4 "operator",
        System = 5 "system",
    }
}

numbered! {
    /// What the client spoke.
    Protocol {
        #[default]
        Http1 = 1 "h1",
        Http2 = 2 "h2",
    }
}

numbered! {
    /// How the request ended.
    Outcome {
        #[default]
        Served = 0 "served",
        Refused = 1 "refused",
        UpstreamFailed = 2 "upstream_failed",
        ClientAborted = 3 "client_aborted",
    }
}

numbered! {
    /// Whose fault it was that it was not served.
    Fault {
        #[default]
        None = 0 "none",
        Caller = 1 "caller",
        Upstream = 2 "upstream",
        Ours = 3 "ours",
    }
}
