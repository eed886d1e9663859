use fe2o3_amqp_types::definitions::Handle;

use super::*;

fn transfer(handle: u32, more: bool) -> Vec<u8> {
    serde_amqp::to_vec(&Transfer {
        handle: Handle(handle),
        delivery_id: Some(1),
        delivery_tag: None,
        message_format: Some(0),
        settled: None,
        more,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    })
    .unwrap()
}

fn check(guard: &mut Guard, handle: u32, more: bool, payload: &[u8]) -> Result<Passed, Refused> {
    let body = [&transfer(handle, more)[..], payload].concat();
    guard.check(&Frame {
        kind: 0,
        channel: 1,
        body: &body,
    })
}

#[test]
fn a_message_is_walked_across_its_transfers() {
    let mut guard = Guard::default();
    let message = b"\x00\x53\x75\xb0\x00\x00\x00\x06abcdef";
    let (first, last) = message.split_at(6);
    // The other link's message comes in between.
    for (handle, more, payload) in [(0, true, first), (1, false, &message[..]), (0, false, last)] {
        assert!(check(&mut guard, handle, more, payload).is_ok());
    }
    assert!(guard.partial.is_empty());
}

#[test]
fn a_message_nested_too_deeply_is_refused_however_it_is_cut() {
    let message = [0x00, 0x53, 0x77].repeat(100);
    for piece in [1, 2, 50, 299] {
        let mut guard = Guard::default();
        let pieces = message.chunks(piece);
        let refused = pieces
            .map(|piece| check(&mut guard, 0, true, piece))
            .find_map(Result::err);
        assert_eq!(refused, Some(Malformed::TooDeep.into()), "{piece}");
    }
}

#[test]
fn a_message_that_ends_early_is_refused() {
    let mut guard = Guard::default();
    // The decoder would allocate the four gigabytes that it announces.
    let refused = check(&mut guard, 0, false, b"\x00\x53\x75\xb0\xff\xff\xff\xffabc").unwrap_err();
    assert_eq!(refused, Malformed::CutShort.into());
}

#[test]
fn what_a_detached_link_had_begun_to_send_is_forgotten() {
    let mut guard = Guard::default();
    assert!(check(&mut guard, 0, true, b"\x00\x53\x75\xa0\x06abc").is_ok());
    let detach = serde_amqp::to_vec(&Detach {
        handle: Handle(0),
        closed: true,
        error: None,
    });
    let frame = Frame {
        kind: 0,
        channel: 1,
        body: &detach.unwrap(),
    };
    assert!(guard.check(&frame).is_ok());
    assert!(guard.partial.is_empty());
}
