#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sync_core::dataverse::fuzzing::answer(bytes));
