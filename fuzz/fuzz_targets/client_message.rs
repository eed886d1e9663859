#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| service_bus::fuzzing::message(bytes));
