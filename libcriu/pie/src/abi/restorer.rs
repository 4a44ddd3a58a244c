//! What the restorer and the engine say to each other.
