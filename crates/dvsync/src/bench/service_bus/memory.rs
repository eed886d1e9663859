//! Whether the broker's memory stays flat while messages pass through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use service_bus::{Client, ClientOptions, OutgoingMessage, ReceiveMode};
use tokio::sync::Semaphore;

use super::emulator::Emulator;
use crate::bench::goal;
use crate::bench::process::mib;
use crate::out;

const QUEUE: &str = "through";
const BATCH: usize = 100;
/// Messages in the queue at most.
const BACKLOG: usize = 10_000;
/// Memory is looked at so often.
const SAMPLES: usize = 20;
/// How much more than in the first half still counts as flat. The first half is when the backlog reaches
/// its bound and the allocator its high-water mark; what leaks goes on after that.
const TOLERANCE: f64 = 1.1;

/// Passes messages through a broker and watches its memory. Whether it stayed flat.
pub(super) async fn run(messages: usize, body: usize) -> anyhow::Result<bool> {
    let emulator = Emulator::start(&[QUEUE]).await?;
    let client =
        Client::from_connection_string(&emulator.connection_string, ClientOptions::default())?;
    let room = Arc::new(Semaphore::new(BACKLOG / BATCH));
    let batches = messages / BATCH;
    let received = Arc::new(AtomicUsize::new(0));
    let sending = tokio::spawn(send(client.clone(), room.clone(), batches, body));
    let receiving = tokio::spawn(receive(
        client.clone(),
        room,
        batches * BATCH,
        received.clone(),
    ));

    out::line(format_args!(
        "\nBroker memory while {} messages of {body} bytes pass through (backlog at most {BACKLOG}):",
        batches * BATCH
    ));
    let (started, step) = (Instant::now(), batches * BATCH / SAMPLES);
    let (mut next, mut first_half, mut second_half) = (step, 0, 0);
    while next <= batches * BATCH {
        if receiving.is_finished() && received.load(Ordering::Relaxed) < next {
            break;
        }
        if received.load(Ordering::Relaxed) < next {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let memory = emulator
            .memory_kib()
            .context("/proc does not tell the broker's memory")?;
        out::line(format_args!(
            "  {next:>9} messages  {:>6.1} MiB  {:>5.1} s",
            mib(memory),
            started.elapsed().as_secs_f64()
        ));
        let half = match next <= step * SAMPLES / 2 {
            true => &mut first_half,
            false => &mut second_half,
        };
        *half = memory.max(*half);
        next += step;
    }
    sending.await??;
    receiving.await??;
    client.close().await;
    if second_half == 0 {
        bail!("too few messages to see anything: --memory-messages must be at least 2000");
    }
    let what = format!(
        "memory flat: at most {:.1} MiB in the second half, {:.1} MiB in the first",
        mib(second_half),
        mib(first_half)
    );
    Ok(goal(&what, mib(second_half) <= mib(first_half) * TOLERANCE))
}

async fn send(
    client: Client,
    room: Arc<Semaphore>,
    batches: usize,
    body: usize,
) -> anyhow::Result<()> {
    for _ in 0..batches {
        room.acquire().await?.forget();
        let batch = vec![OutgoingMessage::new(vec![b'x'; body]); BATCH];
        client.send_batch(QUEUE, batch).await?;
    }
    Ok(())
}

async fn receive(
    client: Client,
    room: Arc<Semaphore>,
    messages: usize,
    received: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    let mut receiver = client
        .receiver(QUEUE, ReceiveMode::ReceiveAndDelete, 1000)
        .await?;
    let (mut count, mut freed) = (0, 0);
    while count < messages {
        let got = receiver.receive(1000, Duration::from_secs(10)).await?;
        count += got.len();
        received.store(count, Ordering::Relaxed);
        room.add_permits(count / BATCH - freed);
        freed = count / BATCH;
    }
    receiver.close().await?;
    Ok(())
}
