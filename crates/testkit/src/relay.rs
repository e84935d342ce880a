//! A TCP relay on loopback that delays, stalls or cuts what passes.
