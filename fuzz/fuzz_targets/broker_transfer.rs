#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| local_stack::bus::fuzzing::transfer(bytes));
