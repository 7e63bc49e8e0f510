//! The edge role: an HTTP and TCP proxy that follows Marathon as Marathon-LB does.
