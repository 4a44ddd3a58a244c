//! What the parasite and compel say to each other.
